"""The report of the retrieval_eval pipeline."""

from collections.abc import Mapping
from typing import Any

from ssl_kedro.core.errors import first_few
from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters
from ssl_kedro.pipelines.retrieval_eval.records import Data, Results
from ssl_kedro.pipelines.retrieval_eval.report.galleries import best_section, compared_section
from ssl_kedro.pipelines.retrieval_eval.report.questions import (
    questions_section,
    supervision_section,
    verdict,
)
from ssl_kedro.pipelines.retrieval_eval.report.set_up import set_up_section
from ssl_kedro.pipelines.retrieval_eval.report.table_sections import (
    dimension_section,
    encoder_section,
    reranking_section,
    revisited_section,
    whitening_section,
)
from ssl_kedro.pipelines.retrieval_eval.report.tables import RANKINGS
from ssl_kedro.reporting.glossary import RETRIEVAL
from ssl_kedro.reporting.html import Card, Report, Section, rendered
from ssl_kedro.reporting.number_format import listed, percent
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_OWN = (
    "Your images in folders, one folder for each thing: what lies in one is to be found together."
)
_COMMAND = (
    "kedro run --pipeline retrieval_eval --env folder \\\n"
    "  --params retrieval_eval.dataset.root=PATH_OF_YOUR_FOLDER"
)


def report(
    parameters: RetrievalEvalParameters,
    data: Data,
    results: Results,
    manifest: Mapping[str, Any],
    **gathered: Any,
) -> str:
    """Self-contained HTML with the results of chapter 3, and what its questions are answered.

    Gathered are "table_3_1" to "table_3_4", "questions", "supervision", "tasks.<task>" and
    "rankings.<task>.<encoder>"; none of the last two where only descriptors are evaluated.
    """
    found = nested(gathered)
    shown = [(task, found["rankings"][name]) for name, task in found.get("tasks", {}).items()]
    sections = [
        *(best_section(parameters, task, of_task, results) for task, of_task in shown),
        Section("Try it on your own images", [_OWN], code=_COMMAND),
        supervision_section(found["supervision"]),
        questions_section(found["questions"]),
        *(
            reranking_section(parameters, task, data, results, found)
            for task in results.evaluations
        ),
        *revisited_section(found["table_3_3"]),
        *dimension_section(parameters, data, results),
        *(s for task, of in shown for s in compared_section(parameters, task, of, results)),
        *whitening_section(results),
        *encoder_section(found["table_3_1"], parameters),
        set_up_section(parameters, data, results),
        *_unanswerable_section(data),
        *skipped_section(manifest),
        manifest_section(manifest, time_label="Extraction time"),
    ]
    return rendered(
        Report(
            title="Frozen encoders as descriptors",
            lead=_lead(parameters, data, results, verdict(found["supervision"])),
            origin=(
                f"Instance retrieval (chapter 3), {parameters.pooling.kind} at "
                f"{parameters.image.size} px, seed {manifest['seed']}, {manifest['created'][:10]}"
            ),
            cards=_cards(data, results),
            sections=sections,
            terms=RETRIEVAL,
        )
    )


def _lead(
    parameters: RetrievalEvalParameters, data: Data, results: Results, answer: str
) -> list[tuple[str, str]]:
    """What was compared, what finds most, what RQ1 is answered, and what to take."""
    task = next(iter(results.evaluations))
    best = results.best_encoder(task)
    evaluation = results.evaluations[task][best]
    level = evaluation.level
    which = f" ({level})" if level else ""
    compared = (
        f"{len(results.evaluations[task])} encoders, frozen, find images of "
        f"{listed([*results.evaluations])}: {data[task].images:,} images and "
        f"{data[task].queries:,} queries on {task}."
    )
    found = (
        f"On {task}, {best} finds most: mAP{which} {percent(evaluation.headline())} by global "
        f"search, where chance gives {percent(data[task].chance[level].map)}."
    )
    ranking = max(RANKINGS, key=evaluation.headline)
    pooling = evaluation.pooled_by or parameters.pooling.kind
    use = f"Take {best} with {pooling} at {parameters.image.size} px. " + (
        "No re-ranking adds to it."
        if ranking == "g"
        else f"The best re-ranking brings it to {percent(evaluation.headline(ranking))}."
    )
    asked = [("RQ1", answer)] if answer else []
    return [("Compared", compared), ("Result", found), *asked, ("Use", use)]


def _cards(data: Data, results: Results) -> list[Card]:
    """The best encoder of each task; of a single task the best four, and chance."""
    cards = []
    alone = len(results.evaluations) == 1
    for task, encoders in results.evaluations.items():
        shown = sorted(encoders, key=lambda name: -encoders[name].headline())
        for name in shown[: 4 if alone else 1]:
            level = encoders[name].level
            label = f"mAP of {name} on {task}"
            value = percent(encoders[name].headline())
            cards.append(Card(value, f"{label}, {level}" if level else label))
        if alone:
            chance = data[task].chance[encoders[shown[0]].level].map
            cards.append(Card(percent(chance), "mAP of a random ranking"))
    return cards


def _unanswerable_section(data: Data) -> list[Section]:
    """Queries that have nothing to find, by name."""
    paragraphs = [
        f"{task}{f' ({level})' if level else ''}: {first_few(names, 12)}."
        for task, described in data.items()
        for level, names in described.without_positives.items()
        if names
    ]
    if not paragraphs:
        return []
    text = "They have no positive image and take no part in the means."
    return [Section("Queries without a match", (text, *paragraphs))]

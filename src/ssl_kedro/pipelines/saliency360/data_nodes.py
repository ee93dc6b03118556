"""Nodes of chapter 4 that begin it: sources, stored panoramas, ground truth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_kedro.pipelines.entrance import nested
from ssl_kedro.pipelines.saliency360 import checks, records
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.saliency.ground_truth import truth_arrays
from ssl_kedro.saliency.held_out import check_held_out
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.open import JoinedSources
from ssl_kedro.saliency.store import PanoramaStore, StoredPanoramas


def check_sources(
    parameters: Saliency360Parameters,  # noqa: ARG001  checked against them before the run
    *,
    learnt_from: Mapping[str, Sequence[str]],
    tested: Mapping[str, Sequence[str]],
    **sources: PanoramaSource,
) -> records.Data:
    """How many panoramas there are; what is tested is not learnt from."""
    found: records.Data = {}
    given: dict[str, PanoramaSource] = nested(sources)["sources"]
    # Again, since before the run those elsewhere could not be seen.
    check_held_out(given, learnt_from, tested)
    for name, source in given.items():
        splits: dict[str, int] = dict(sorted(Counter(source.splits).items()))
        scenes = len(set(source.scenes))
        found[name] = records.SourceSummary(
            len(source), scenes, splits, source.fingerprint, dict(source.passed_over)
        )
    return found


def store_panoramas(
    parameters: Saliency360Parameters,
    data: records.Data,  # noqa: ARG001  nothing is decoded before all sources are checked
    source: PanoramaSource,
    store: PanoramaStore,
    *,
    name: str,
    own: bool,
) -> StoredPanoramas:
    """Decode the panoramas that have a truth, at the size that networks see.

    Of a source that is not the run's own those of its test part alone.
    """
    splits = ("train", "test") if own else ("test",)
    if not own:
        checks.check_tested(parameters, name, source)
    labelled = [i for i, split in enumerate(source.splits) if split in splits]
    skipped = parameters.max_skipped
    return store.fill(source, labelled, parameters.image.size, label=name, max_skipped=skipped)


def store_for_pretraining(
    parameters: Saliency360Parameters,
    data: records.Data,  # noqa: ARG001
    store: PanoramaStore,
    **sources: PanoramaSource,
) -> StoredPanoramas:
    """Decode the panoramas that encoders are pre-trained on."""
    source = JoinedSources(nested(sources)["sources"])
    splits = parameters.pretraining_splits
    chosen = [i for i, split in enumerate(source.splits) if split in splits]
    size, skipped = parameters.image.size, parameters.max_skipped
    return store.fill(source, chosen, size, label="pretraining", max_skipped=skipped)


def ground_truth(
    parameters: Saliency360Parameters, source: PanoramaSource, stored: StoredPanoramas
) -> dict[str, Any]:
    """Maps and fixations of the stored panoramas, see :func:`truth_arrays`, and their numbers.

    Empty maps and directions off the sphere are found here: trainings wait for the numbers.
    """
    config = parameters.truth
    truth = truth_arrays(source, stored.indices, config.source, config.height, config.sigma_deg)
    summary = records.TruthSummary(
        len(truth["maps"]),
        int(truth["made_from_fixations"].sum()),
        int(truth["known"].sum()),
        len(truth["viewer"]),
    )
    return {"truth": truth, "truth_summary": summary}

"""Beginning and end of the pages of chapters 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.reporting.html import Card, Section
from ssl_kedro.reporting.number_format import MINUS
from ssl_kedro.reporting.published import compared, published_in, published_recipe, recipe_section
from ssl_kedro.reporting.run_sections import manifest_section, skipped_section

_TERMS = (
    ("Budget, t_d", "The share of the dense encoder's cost that training asks the gates for."),
    (
        "FLOPs (MACs)",
        "Multiply-accumulates of convolutions (stem, blocks, downsample, gates) for one image; "
        "batch norm, ReLU and pooling are free. The thesis calls them FLOPs.",
    ),
    ("FLOP reduction", f"1 {MINUS} mean gated MACs / dense MACs over the evaluation images."),
    ("1-NN", "Top-1 accuracy of naming the class of the nearest training image in feature space."),
)


def setup_of(
    parameters: EncoderPipelineParameters,
    manifest: Mapping[str, Any],
    published: str,
    comparable: bool,
) -> dict[str, Any]:
    """What a page says of its run.

    Args:
        parameters: of the run.
        manifest: of the run.
        published: data set of the thesis whose figures stand beside.
        comparable: whether the run used it.

    Returns:
        Values by the keys of published recipes; and "published", "comparable", "stem".
    """
    found = parameters.as_published(manifest)
    return {
        **found,
        "published": published,
        "comparable": comparable,
        "stem": found.get("encoder.stem", "own"),
    }


def origin(chapter: str, setup: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """Which run this is, in a few words."""
    width = f"width {setup['encoder.width']}, " if "encoder.width" in setup else ""
    epochs = f"{setup['train.epochs']} epoch{'' if setup['train.epochs'] == 1 else 's'}"
    return (
        f"{chapter} on {setup['data.source']} images, {width}{epochs}, "
        f"seed {manifest['seed']}, {manifest['created'][:10]}"
    )


def cost_card(metrics: Mapping[str, float], setup: Mapping[str, Any], encoder: str) -> Card:
    """What an image costs without gates."""
    label = f"FLOPs (MACs) an image, {encoder} encoder, “{setup['stem']}” stem"
    return Card(f"{metrics['dense_macs'] / 1e6:,.1f} M", label)


def closing_sections(
    chapter: str,
    setup: Mapping[str, Any],
    manifest: Mapping[str, Any],
    terms: tuple[tuple[str, str], ...],
) -> list[Section]:
    """What differs from the thesis, skipped files, the manifest and terms.

    Args:
        chapter: of the thesis.
        setup: from :func:`setup_of`.
        manifest: of the run.
        terms: further ones of the chapter.
    """
    run = dict(setup)
    if setup["comparable"]:
        run["data.source"] = setup["published"]
    recipe = published_recipe(chapter, setup["published"])
    return [
        recipe_section(compared(recipe, run), published_in(chapter)),
        *skipped_section(manifest),
        manifest_section(manifest),
        Section("Terms", terms=(*_TERMS, *terms)),
    ]

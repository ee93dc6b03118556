"""What features show of a run's images: neighbours, near-duplicates and groups, as pictures."""

from collections.abc import Sequence

from ssl_kedro.pipelines.gated.look import Overview
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails


def overview_sections(found: Overview | None) -> list[Section]:
    """Sections of the page: all three without labels, near-duplicates alone, if any, with them."""
    if found is None:
        return []
    return [*_neighbours(found), *_duplicates(found), *_clusters(found)]


def _row(
    found: Overview, words: str, places: Sequence[int], captions: Sequence[str] = ()
) -> Thumbnails:
    told = [*captions, *[""] * (len(places) - len(captions))]
    pictures = [
        Thumbnail(found.pictures[place], caption, caption or f"image {place}")
        for place, caption in zip(places, told, strict=True)
    ]
    return Thumbnails(words, pictures)


def _neighbours(found: Overview) -> list[Section]:
    rows = []
    for one in found.neighbours:
        rows.append(_row(found, "An image that was not trained with:", [one.query]))
        rows += [_row(found, f"Nearest by {kind}", near) for kind, near in one.found.items()]
    said = (
        f"Some evaluation images, and the nearest of the {found.images:,} images that were looked "
        "at. An encoder has learnt something where its neighbours show the same thing in another "
        "place, light or colour; neighbours by raw pixels share background and layout."
    )
    return [Section("What the encoder takes for alike", [said], thumbnails=rows)] if rows else []


def _duplicates(found: Overview) -> list[Section]:
    duplicates = found.duplicates
    looked = f"{found.images:,} images" + f" of {found.of:,}" * (found.images < found.of)
    if not duplicates.pairs:
        said = f"None among {looked}: no two are alike from {found.similarity:g} on."
        return [Section("Near-duplicates", [said])] if found.clusters else []
    share = percent(duplicates.images / found.images, 1)
    said = (
        f"{duplicates.images:,} of {looked} ({share}) have another that is nearly the same, in "
        f"{duplicates.groups:,} groups: similarity of {found.similarity:g} or more by the features "
        f"of {found.encoder} and by pixels (1 = equal). Copies take the place of other images in "
        "training, and make neighbours look better than they are."
    )
    across = (
        f"{found.across:,} pairs are of a training and an evaluation image: accuracies by nearest "
        "neighbours are too high by them."
    )
    rows = [
        _row(
            found,
            "",
            [pair.first, pair.second],
            [f"features {pair.by_features:.2f}", f"pixels {pair.by_pixels:.2f}"],
        )
        for pair in duplicates.pairs
    ]
    pictures = [picture for row in rows for picture in row.pictures]
    words = "The most similar pairs, side by side:"
    told = [said, *[across] * bool(found.across)]
    return [Section("Near-duplicates", told, thumbnails=[Thumbnails(words, pictures)])]


def _clusters(found: Overview) -> list[Section]:
    rows = [
        _row(
            found,
            f"{group.size:,} images ({percent(group.size / found.images, 0)})",
            group.examples,
        )
        for group in found.clusters
    ]
    said = (
        f"k-means of the features of {found.encoder} into {len(rows)} groups, the largest first, "
        "each by the images nearest to its centre. Groups have no names: look whether they are "
        "what you would put together. Their number is the parameter overview.clusters."
    )
    return [Section("Groups", [said], thumbnails=rows)] if rows else []

"""What features show of a run's images: neighbours, near-duplicates and groups, as pictures."""

from ssl_kedro.pipelines.gated.look import Overview
from ssl_kedro.reporting.html import Section
from ssl_kedro.reporting.number_format import percent
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails

# Of its pictures, in px: what they show has to be told at a glance.
_SIDE = 64


def overview_sections(found: Overview | None) -> list[Section]:
    """Sections of the page: all three without labels, near-duplicates alone, if any, with them."""
    if found is None:
        return []
    return [*_neighbours(found), *_duplicates(found), *_clusters(found)]


def unlabelled_sections(found: Overview | None) -> list[Section]:
    """What a page without accuracies begins with: why, and what features show all the same."""
    shown = overview_sections(found)
    said = (
        "These images carry no labels, so there are no accuracies. "
        + "What features show without labels comes next. " * bool(shown)
        + "Costs, times and channels are complete. To have accuracies as well, put the images into "
        "one folder a class."
    )
    return [Section("No labels", [said]), *shown]


def _picture(
    found: Overview, place: int, words: str = "", *, framed: bool = False, last: bool = False
) -> Thumbnail:
    described = words or f"image {place}"
    return Thumbnail(found.pictures[place], words, described, framed=framed, last=last)


def _neighbours(found: Overview) -> list[Section]:
    rows = [
        Thumbnails(
            kind,
            [
                _picture(found, one.query, framed=True),
                *(_picture(found, place) for place in near),
            ],
            _SIDE,
        )
        for one in found.neighbours
        for kind, near in one.found.items()
    ]
    said = (
        "Framed: some evaluation images, which were not trained with; beside them the nearest of "
        f"the {found.images:,} images that were looked at, by what stands above. An encoder has "
        "learnt something where its neighbours show the same thing in another place, light or "
        "colour; neighbours by raw pixels share background and layout."
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
        f"Training and evaluation share {found.across:,} of the pairs: what is said of these "
        "evaluation images, such as 1-NN accuracy, is of images that were as good as trained with."
    )
    pictures = [
        picture
        for pair in duplicates.pairs
        for picture in (
            _picture(found, pair.first, f"features {pair.by_features:.2f}"),
            _picture(found, pair.second, f"pixels {pair.by_pixels:.2f}", last=True),
        )
    ]
    row = Thumbnails("The most similar pairs", pictures, _SIDE)
    return [Section("Near-duplicates", [said, *[across] * bool(found.across)], thumbnails=[row])]


def _clusters(found: Overview) -> list[Section]:
    rows = [
        Thumbnails(
            f"{group.size:,} images ({percent(group.size / found.images, 0)})",
            [_picture(found, place) for place in group.examples],
            _SIDE,
        )
        for group in found.clusters
    ]
    said = (
        f"k-means of the features of {found.encoder} into {len(rows)} groups, the largest first, "
        "each by the images nearest to its centre. Groups have no names: look whether they are "
        "what you would put together. Their number is the parameter overview.clusters."
    )
    return [Section("Groups", [said], thumbnails=rows)] if rows else []

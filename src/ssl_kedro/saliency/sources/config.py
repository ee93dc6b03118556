"""Which panoramas, from where, and how their files are to be understood."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ssl_kedro.core.config import POSITIVE, PROBABILITY, RATE, Config, ConfigError, Range
from ssl_kedro.core.remote import check_scheme

SourceKind = Literal[
    "generated", "folder", "manifest", "salient360", "vr_eyetracking", "sitzmann", "videos"
]
# 20000 x 10000: Salient360! has panoramas of 16384 x 8192, beyond Pillow's own limit.
MAX_MEGAPIXELS = 200.0
_COUNT = Range(at_least=0, at_most=100_000)


@dataclass(frozen=True)
class FixationColumns(Config):
    """Names of the columns of fixation tables, for those that are not called as usual.

    Directions stand in one of three forms. Give the two names of one; where none is given, the
    header is searched for the usual names, in this order:

    * degrees: ``lon_deg``/``lat_deg``, ``longitude_deg``/``latitude_deg``,
      ``longitude``/``latitude``; longitude -180 to 180 (left to right), latitude 90 (top) to -90;
    * fractions of the image: ``u`` (0 left to 1 right) and ``v`` (0 top to 1 bottom);
    * pixels of an image of ``width_px`` x ``height_px``: ``x`` and ``y``. Whole numbers are
      indices of pixels, whose centres are meant; others are distances from the left top corner.

    Args:
        longitude, latitude: in degrees.
        u, v: fractions of the width and, from the top, of the height.
        x, y: in px.
        width_px, height_px: of the image that x and y count; None = of the panorama's own file.
        viewer: who looked; None searches for ``subject``, ``viewer``, ``user``, ``observer``;
            where there is none, all fixations are viewer 0's.
        t_s: seconds since the start; None searches for ``t_s``.

    Raises:
        ConfigError: one name of a pair alone, or more than one pair.
    """

    longitude: str | None = None
    latitude: str | None = None
    u: str | None = None
    v: str | None = None
    x: str | None = None
    y: str | None = None
    width_px: Annotated[int | None, Range(at_least=1)] = None
    height_px: Annotated[int | None, Range(at_least=1)] = None
    viewer: str | None = None
    t_s: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = (("longitude", "latitude"), ("u", "v"), ("x", "y"), ("width_px", "height_px"))
        for first, second in pairs:
            for name, other in ((first, second), (second, first)):
                if getattr(self, name) is not None and getattr(self, other) is None:
                    raise ConfigError(other, None, f"a value, because {name} is given")
        given = [first for first, _ in pairs[:3] if getattr(self, first) is not None]
        if len(given) > 1:
            raise ConfigError(
                given[1], getattr(self, given[1]), f"none, because {given[0]} is given"
            )


@dataclass(frozen=True)
class SourceConfig(Config):
    """One source of panoramas.

    Args:
        source: which one; see the modules of this package.
        root: folder of the data set, or the manifest's file, also elsewhere (``s3://...``); None
            for generated panoramas.
        limit: at most so many panoramas of each split, chosen at random; None keeps all.
        seed: of generated panoramas, of the split and of the limit.
        count_train, count_test: generated panoramas for training and for testing.
        count_unlabelled: generated panoramas without ground truth.
        images, saliency, fixations: folders of panoramas, maps and fixations below root.
        scene_pattern: regular expression with one group, searched in the names; what the group
            matches is the scene. None = each panorama is its own scene.
        test_share: share of the scenes that are for testing, where nothing else says which.
        test_names: panoramas or videos that are for testing; () = lists or
            ``test_share`` decide.
        train_list, test_list: text files with a name of a panorama or video on each line (# begins
            a remark), by their paths from root: the published split. One alone leaves the rest to
            the other side; with both, what neither names is left out. Of a source without labels
            what is not for training is left out. Not of "generated" and "manifest".
        columns: names of the columns of fixation tables.
        movement: of Salient360!: of head and eyes, or of the head alone.
        eye: of Salient360! (head and eyes): whose scanpaths count. With "both" each eye's fixations
            are scored on their own and the scores averaged, as the authors' code does.
        frame_rate: frames taken of a video in a second.
        max_megapixels: panoramas of more million pixels end the run before anything is decoded.

    Raises:
        ConfigError: a value outside its range, a pattern that is none or has not one group, a
            root that is missing or not needed.
    """

    source: SourceKind = "generated"
    root: str | None = None
    limit: Annotated[int | None, Range(at_least=1)] = None
    seed: int = 0
    count_train: Annotated[int, _COUNT] = 64
    count_test: Annotated[int, _COUNT] = 32
    count_unlabelled: Annotated[int, _COUNT] = 0
    images: str = "images"
    saliency: str = "saliency"
    fixations: str = "fixations"
    scene_pattern: str | None = None
    test_share: Annotated[float, PROBABILITY] = 0.2
    test_names: tuple[str, ...] = ()
    train_list: str | None = None
    test_list: str | None = None
    columns: FixationColumns = FixationColumns()
    movement: Literal["head_and_eye", "head"] = "head_and_eye"
    eye: Literal["left", "right", "both"] = "left"
    frame_rate: Annotated[float, RATE] = 1.0
    max_megapixels: Annotated[float, POSITIVE] = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scheme("root", self.root)
        if self.scene_pattern is not None:
            try:
                groups = re.compile(self.scene_pattern).groups
            except re.error as error:
                expected = f"a regular expression; this one is wrong: {error}"
                raise ConfigError("scene_pattern", self.scene_pattern, expected) from error
            if groups != 1:
                expected = f"exactly one group, found {groups}"
                raise ConfigError("scene_pattern", self.scene_pattern, expected)
        if self.test_list is not None and self.test_names:
            raise ConfigError("test_list", self.test_list, "none, because test_names is given")
        for name in ("train_list", "test_list"):
            if getattr(self, name) is not None and self.source in ("generated", "manifest"):
                expected = f"none, because source = {self.source} has its own split"
                raise ConfigError(name, getattr(self, name), expected)
        given = self.root is not None and bool(self.root.strip())
        if self.source == "generated" and given:
            raise ConfigError("root", self.root, "none, because source = generated reads no files")
        if self.source != "generated" and not given:
            what = "the manifest's path" if self.source == "manifest" else "the data set's folder"
            raise ConfigError("root", self.root, f"{what}, because source = {self.source}")

    @property
    def parts(self) -> "tuple[SourceConfig, ...]":
        """The sources that it is made of."""
        return (self,)


@dataclass(frozen=True)
class JoinedConfig(SourceConfig):
    """One source, or several joined to one.

    Args:
        sources: by the names that come before those of their panoramas. Where there are some they
            take the place of all other fields, each with its own.

    Raises:
        ConfigError: a name with a slash, or a field beside ``sources`` that would do nothing.
    """

    sources: dict[str, SourceConfig] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.sources:
            if not name or "/" in name:
                raise ConfigError("sources", name, "names without a slash")
        for name in ("root", "limit", "train_list", "test_list", "scene_pattern"):
            if self.sources and (value := getattr(self, name)) is not None:
                raise ConfigError(name, value, "none beside sources: set it in each of them")

    @property
    def parts(self) -> tuple[SourceConfig, ...]:
        """The sources that it is made of."""
        return tuple(self.sources.values()) or (self,)

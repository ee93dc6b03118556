from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.panoramas import Fixations, PanoramaSource
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.open import JoinedSources, open_source


class Numbered(PanoramaSource):
    """Panoramas whose every value is their index, of one split."""

    def __init__(self, count: int, split: str) -> None:
        names = [str(index) for index in range(count)]
        super().__init__(names, ["s"] * count, [split] * count)  # type: ignore[list-item]

    def image(self, index: int, height: int, width: int) -> np.ndarray:
        return np.full((3, height, width), index, np.uint8)

    def saliency(self, index: int) -> np.ndarray | None:
        return np.full((2, 4), index + 1, np.float32)

    def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
        one = np.full(1, float(index))
        return (Fixations(one, one, np.zeros(1, np.int64)),)

    @property
    def fingerprint(self) -> str:
        return f"{len(self)}"


def test_joined_sources() -> None:
    joined = JoinedSources({"a": Numbered(2, "train"), "b": Numbered(3, "test")})
    assert joined.names == ("a/0", "a/1", "b/0", "b/1", "b/2")
    assert joined.scenes == ("a/s", "a/s", "b/s", "b/s", "b/s")  # one name, two scenes
    assert joined.splits == ("train", "train", "test", "test", "test")
    for index, expected in enumerate([0, 1, 0, 1, 2]):
        saliency, fixations = joined.saliency(index), joined.fixations(index)
        assert saliency is not None and fixations is not None
        assert joined.image(index, 2, 4).max() == expected == saliency.max() - 1
        assert fixations.longitude_deg.tolist() == [expected]
    joined.check()
    prints = {
        JoinedSources({first: Numbered(2, "train"), "b": Numbered(count, "test")}).fingerprint
        for first in "ac"
        for count in (3, 4)
    }
    assert len(prints) == 4


def test_joined_sources_need_names() -> None:
    for sources in ({}, {"": Numbered(1, "train")}, {"a/b": Numbered(1, "train")}):
        with pytest.raises(ValueError, match="expected sources under names without a slash"):
            JoinedSources(sources)


def test_joined_sources_check_theirs(tmp_path: Path, picture) -> None:
    picture("images/a.jpg")
    source = open_source(SourceConfig(source="folder", root=str(tmp_path)))
    joined = JoinedSources({"a": Numbered(1, "train"), "b": source})
    joined.check()
    picture("images/a.jpg", (64, 20))
    with pytest.raises(ValueError, match="an image of 64 x 20 px"):
        joined.check()


def test_generated_panoramas_are_as_many_as_configured() -> None:
    source = open_source(SourceConfig(count_train=5, count_test=3, count_unlabelled=2, seed=7))
    assert [source.splits.count(split) for split in ("train", "test", "unlabelled")] == [5, 3, 2]
    assert "-7-" in source.fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "folders"}, "source = 'folders': expected one of generated, folder"),
        (
            {"source": "folder"},
            "root = None: expected the data set's folder, because source = folder",
        ),
        ({"source": "manifest", "root": " "}, "expected the manifest's path"),
        ({"root": "x"}, "none, because source = generated reads no files"),
        ({"limit": 0}, "limit = 0: expected a number at least 1"),
        ({"test_share": 1.1}, "test_share = 1.1"),
        ({"frame_rate": 0.0}, "frame_rate = 0.0: expected a number above 0"),
        ({"scene_pattern": "("}, "a regular expression; this one is wrong"),
        ({"scene_pattern": "abc"}, "exactly one group, found 0"),
        ({"movement": "eye"}, "expected one of head_and_eye, head"),
    ],
)
def test_faults_of_configurations(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SourceConfig(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_opening_a_folder_loads_no_opencv(tmp_path: Path, picture) -> None:
    picture("images/a.jpg")
    program = (
        "import sys\n"
        "from ssl_kedro.saliency.sources.config import SourceConfig\n"
        "from ssl_kedro.saliency.sources.open import open_source\n"
        f"open_source(SourceConfig(source='folder', root={str(tmp_path)!r}))\n"
        "import ssl_kedro.saliency.video\n"
        "sys.exit('cv2' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

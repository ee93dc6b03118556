from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.open import open_source
from ssl_kedro.saliency.sources.sitzmann import SitzmannPanoramas


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="sitzmann", root=str(root), **options)  # type: ignore[arg-type]


@pytest.fixture
def release(tmp_path: Path, picture, text) -> Path:
    for number in range(4):
        picture(f"img_files/cubemap_{number:04d}.png")
    (tmp_path / "vr").mkdir()
    runs = np.array(
        [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 1], [0.75, 0, 1], [0.5, 0.5, 1]]
    )
    for number in range(3):
        np.save(tmp_path / "vr" / f"cubemap_{number:04d}.npy", runs)
    text("vr/cubemap_0003.csv", "viewer,u,v\n4,0.25,1\n4,0.25,1\n")
    return tmp_path


def test_runs(release: Path) -> None:
    source = open_source(config(release, test_names=("cubemap_0000", "cubemap_0003")))
    assert source.splits == ("test", "train", "train", "test")
    fixations = source.fixations(0)
    assert fixations is not None
    # The second goes on from the first, the third is none, the last is a new one.
    assert fixations.longitude_deg.tolist() == [0, 0, 90, 0]
    assert fixations.latitude_deg.tolist() == [0, 0, 90, 0]
    assert fixations.viewer.tolist() == [0, 1, 1, 1]
    last = source.fixations(3)
    assert last is not None and last.viewer.tolist() == [4]
    assert (last.longitude_deg[0], last.latitude_deg[0]) == (-90, -90)
    assert source.saliency(0) is None
    assert source.image(0, 8, 16).shape == (3, 8, 16)


def test_pickles_are_refused(release: Path) -> None:
    (release / "vr" / "cubemap_0000.pck").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    open_source(config(release))  # converted already
    (release / "vr" / "cubemap_0000.npy").unlink()
    with pytest.raises(SaliencyDataError, match=r"pickles, .*: cubemap_0000\.pck"):
        SitzmannPanoramas(config(release))


def test_faults(release: Path) -> None:
    np.save(release / "vr" / "cubemap_0001.npy", np.array([[0.5, 1.5]]))
    with pytest.raises(SaliencyDataError, match=r"\[0\.5, 1\.5\] in row 0"):
        open_source(config(release)).fixations(1)
    np.save(release / "vr" / "cubemap_0001.npy", np.zeros((3, 2)))
    with pytest.raises(SaliencyDataError, match=r"only \(0, 0\)"):
        open_source(config(release)).fixations(1)
    np.save(release / "vr" / "cubemap_0001.npy", np.zeros(3))
    with pytest.raises(SaliencyDataError, match=r"shape \(3,\)"):
        open_source(config(release))
    (release / "vr" / "cubemap_0001.npy").rename(release / "vr" / "other.npy")
    with pytest.raises(SaliencyDataError, match=r"img_files/cubemap_0001\.png, vr/other\.npy"):
        SitzmannPanoramas(config(release))
    with pytest.raises(SaliencyDataError, match="no folder browser"):
        SitzmannPanoramas(config(release, fixations="browser"))

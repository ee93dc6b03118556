"""A whole run on images in tar shards, stored as memory maps."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Project


def shards(folder: Path) -> Path:
    """Three classes that brightness tells apart; one image is broken."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, count in (("train-0", 120), ("train-1", 120), ("test-0", 60)):
        with tarfile.open(folder / f"{name}.tar", "w") as tar:
            for index in range(count):
                pixels = generator.integers(0, 60, (16, 16, 3)) + 90 * (index % 3)
                buffer = io.BytesIO()
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
                image = b"broken" if (name, index) == ("train-1", 7) else buffer.getvalue()
                for ending, data in (("png", image), ("cls", str(index % 3).encode())):
                    member = tarfile.TarInfo(f"{name}/{index:06d}.{ending}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return folder


@pytest.mark.slow
def test_a_run_on_shards(project: Project, tmp_path: Path) -> None:
    changes = {
        "data.source": "webdataset",
        "data.root": shards(tmp_path / "shards"),
        "data.memory_limit_mb": 0.01,
        "data.workers": 1,
    }
    done = project.run(changes)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((project.results / "metrics.json").read_text())
    assert metrics["chance"] == pytest.approx(1 / 3)
    summary = json.loads(
        (project.path / "data/03_primary/dual_gating/data_summary.json").read_text()
    )
    assert [path for path, _ in summary["skipped"]] == ["train-1.tar/train-1/000007.png"]
    maps = project.path / "data/02_intermediate/images"
    assert sorted(np.load(file).shape[0] for file in maps.glob("*/images.npy")) == [60, 239]

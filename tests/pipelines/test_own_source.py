"""A source of images from another installed package, asked for as a user would."""

from __future__ import annotations

import json
import os
from pathlib import Path

from conftest import Project
from core.test_plugins import installed

SOURCE = '''
import numpy as np
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import ImageSource


def stripes(config, split, seed):
    """Horizontal and vertical ones, brighter in the evaluation part."""
    count = 60 if split == "eval" else 200
    labels = np.arange(count) % 2
    grey = np.full((count, config.size, config.size), 40, dtype=np.uint8)
    grey[labels == 0, ::2, :] = 200 if split == "eval" else 100
    grey[labels == 1, :, ::2] = 200 if split == "eval" else 100
    images = np.repeat(grey[:, None], 3, axis=1)
    return ImageSet(images, labels.astype(np.int64), ("across", "down"), config.source)


SOURCE = ImageSource(("stripes",), stripes, reads_files=False)
'''


def test_a_source_from_outside_trains_under_its_name(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    installed(folder, "ssl_kedro.images.sources", "stripes", SOURCE)
    known = os.environ.get("PYTHONPATH", "")
    done = project.run(
        {"data.source": "stripes", "train.epochs": 2},
        "--to-outputs",
        "dual_gating.metrics",
        environment={"PYTHONPATH": f"{folder}{os.pathsep}{known}"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((project.results / "metrics.json").read_text())
    assert metrics["chance"] == 0.5
    assert metrics["raw_pixels.knn_top1"] == 1.0  # nearest by hand: stripes of the same way
    assert 0.0 <= metrics["dual.budget_50.gated.knn_top1"] <= 1.0
    summary = json.loads(
        (project.path / "data/03_primary/dual_gating/data_summary.json").read_text()
    )
    assert summary["source"] == "stripes"
    assert summary["class_names"] == ["across", "down"]


def test_a_source_that_is_not_there_is_named_with_those_that_are(project: Project) -> None:
    done = project.run({"data.source": "stripes"})
    assert done.returncode != 0
    told = " ".join((done.stdout + done.stderr).split())
    assert "data.source = 'stripes'" in told
    assert "cifar10" in told
    assert "textures" in told

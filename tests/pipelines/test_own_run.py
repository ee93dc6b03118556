"""`--env own`: a folder looked at, a run planned, its plan repeated, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import TIMED, Project
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.encoders.fingerprint import weight_fingerprint

SMALL = {
    "own.hours": 0.02,
    "own.fewest": 20,
    "data.size": 16,
    "encoder.width": 8,
    "train.epochs": 2,
    "expander.hidden": 16,
    "expander.output": 16,
    "frontier.budgets": "0.4",
    **TIMED,
    "inference.models": "all",
    "inference.precisions": "f32",
}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of 40 pictures of 24 px, grey; a file that is none."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        folder = tmp_path / "photographs" / name
        folder.mkdir(parents=True)
        for number in range(40):
            pixels = generator.normal(level, 30, (24, 30)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return tmp_path / "photographs"


def run(project: Project, root: Path, **changes: object):
    given = {**SMALL, "data.root": root, "data.max_skipped": 0.1, **changes}
    parameters = ",".join(f"dual_gating.{key}={value}" for key, value in given.items())
    pipeline = ("--pipeline", "dual_gating", "--env", "own")
    return project.kedro("run", *pipeline, "--params", parameters)


def test_a_folder_is_looked_at_planned_for_and_trained_on(
    bare_project: Project, photographs: Path
) -> None:
    done = run(bare_project, photographs)
    said = " ".join(done.stderr.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Found 81 images, 24 px on the shorter side, 100% of a sample grey" in said
    assert "The 2 folders are taken for classes." in said
    assert "cannot be read: light/broken.png" in said
    assert 'recipe "grey"' in said
    order = ["Found 81", "Trying 16 px", "Plan: images of 16 px", "Expected end", "The encoder"]
    assert [said.index(words) for words in order] == sorted(said.index(words) for words in order)
    room = bare_project.path / "data" / "own"
    with Image.open(room / "08_reporting" / "dual_gating" / "images.jpg") as sheet:
        assert sheet.size[0] == 12 * 96
    plan = yaml.safe_load((room / "plan_dual_gating.yml").read_text())["run"]
    settled = plan["params"]["dual_gating"]
    assert settled["own"]["hours"] is None
    assert settled["views"] == {"size": 12, "saturation": 0.0, "hue": 0.0, "grey": 0.0}
    assert settled["train"]["precision"] in ("fp32", "bf16")

    bundle = room / "06_models" / "dual_gating.nested" / "encoder"
    assert f"ssl.load_encoder('{bundle}')" in done.stderr
    trained = weight_fingerprint(load_encoder(bundle))
    again = bare_project.kedro("run", "--config", str(room / "plan_dual_gating.yml"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Trying" not in again.stderr
    assert weight_fingerprint(load_encoder(bundle)) == trained


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"own.fewest": 500}, "found 81 images; expected at least 500"),
        ({"recipe": "authors"}, "dual_gating.recipe = 'authors': expected best"),
        ({"data.root": "/nowhere"}, "found no such folder (looked in /nowhere)"),
    ],
)
def test_what_is_refused_before_anything_is_tried(
    bare_project: Project, photographs: Path, changes: dict[str, object], told: str
) -> None:
    done = run(bare_project, photographs, **changes)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert told in said
    assert "Trying" not in said
    assert not (bare_project.path / "data" / "own" / "plan_dual_gating.yml").exists()


def test_an_environment_made_for_others_is_refused(bare_project: Project) -> None:
    done = bare_project.kedro("run", "--pipeline", "dual_gating", "--env", "folder")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "--env folder: it has nothing for dual_gating, only for retrieval_eval" in said
    assert "environments for dual_gating: cifar10, cifar100, imagenet100, own, stl10" in said

"""docs/labels.md: from a run to the names of classes, as the page writes it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_kedro as ssl
from conftest import Project

PAGE = Path(__file__).parents[1] / "docs/labels.md"


@pytest.mark.slow
def test_a_run_on_a_folder_gives_class_names_of_an_image_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = ssl.load_images("digits", size=16)
    for label in range(3):
        folder = project.path / f"photos/digit {label}"
        folder.mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.labels == label][:40]):
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{number}.png")
    changes = {
        "keep_head": "true",
        "data.source": "folder",
        "data.root": str(project.path / "photos"),
        "probe.epochs": 50,
    }
    done = project.run(changes)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.chdir(project.path)
    Image.open("photos/digit 1/7.png").convert("RGB").save("photo.jpg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found: dict[str, object] = {}
    shown = blocks[0].replace("encoder.classify", "names = encoder.classify")
    exec(shown.replace("encoder.guesses", "guesses = encoder.guesses"), found)
    [name], [guesses] = found["names"], found["guesses"]  # type: ignore[misc]
    assert name in {"digit 0", "digit 1", "digit 2"}
    assert next(guess.name for guess in guesses) == name and len(guesses) == 3

    size = "ssl.load_images('photos', size=16)"
    exec(blocks[1].replace('ssl.load_images("PATH")', size), found)
    again = ssl.load_encoder("mine")
    known = ssl.load_images("photos", size=16)
    names = np.array(again.classify(known.images))
    assert np.mean(names == np.array(known.class_names)[known.labels]) > 0.6

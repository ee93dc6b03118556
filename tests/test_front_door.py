"""What ``import ssl_kedro`` offers: as the README shows it, loaded when it is used."""

from __future__ import annotations

import doctest
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ssl_kedro as ssl
from ssl_kedro.api import Trained
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.base import Method

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "pandas", "PIL", "pydantic", "kedro", "mlflow", "sklearn"}


def example() -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(ssl.__doc__ or "")


def recipe(**changes: object) -> ssl.Recipe:
    # What a trial chose could differ from one training to the next.
    chosen = {"precision": "fp32", "memory_format": "channels_last"}
    return ssl.Recipe(**{"epochs": 2, "batch_size": 10, **chosen, **changes})


def method() -> Method:
    torch.manual_seed(0)
    return ssl.methods.DualGating(ssl.encoders.gated_resnet18(width=4, image_size=16), budget=0.5)


def same_weights(one: Trained, other: Trained) -> bool:
    state = one.encoder.state_dict()
    return all(
        torch.equal(state[name], value) for name, value in other.encoder.state_dict().items()
    )


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return ssl.load_images("textures", generated=40, size=16)


def test_importing_loads_nothing_heavy() -> None:
    code = "import ssl_kedro, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_every_name_is_there_and_no_other() -> None:
    assert all(getattr(ssl, name) is not None for name in ssl.__all__)
    assert set(ssl.__all__) <= set(dir(ssl))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        ssl.trian  # noqa: B018


@pytest.mark.slow
def test_the_example_works_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fewer images than the 2,000 that it gets: it is its lines that are tried."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ssl, "load_images", partial(ssl.load_images, generated=160))
    test = doctest.DocTest(example(), {}, "front door", None, None, ssl.__doc__)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert {path.name for path in Path("encoder").iterdir()} == {
        "config.json",
        "weights.safetensors",
    }


def test_the_readme_shows_that_example() -> None:
    blocks = (ROOT / "README.md").read_text().split("```python\n")[1:]
    shown = blocks[0].split("```")[0]
    lines = [line for line in shown.splitlines() if line]
    assert lines == [one.source.rstrip() for one in example()[:-1]]


def test_a_training_repeats_itself_and_goes_on_where_it_stopped(
    images: ImageSet, tmp_path: Path
) -> None:
    whole = ssl.train(method(), images, ssl.Views(), recipe())
    again = ssl.train(method(), images, ssl.Views(), recipe())
    other = ssl.train(method(), images, ssl.Views(), recipe(), seed=1)
    assert same_weights(whole, again)
    assert not same_weights(whole, other)
    path = tmp_path / "state.safetensors"
    ssl.train(method(), images, ssl.Views(), recipe(), checkpoint=path)
    resumed = ssl.train(method(), images, ssl.Views(), recipe(resume=True), checkpoint=path)
    assert [row["epoch"] for row in resumed.history] == [1, 2]
    assert same_weights(whole, resumed)


def test_the_encoder_normalises_by_its_images(images: ImageSet) -> None:
    trained = ssl.train(method(), images, ssl.Views(), recipe(epochs=1)).encoder
    pixels = images.images.astype(np.float64) / 255
    assert torch.allclose(
        trained.pixel_mean.flatten().double(), torch.from_numpy(pixels.mean((0, 2, 3))), atol=1e-6
    )
    assert torch.allclose(
        trained.pixel_std.flatten().double(), torch.from_numpy(pixels.std((0, 2, 3))), atol=1e-6
    )


def test_small_views_train_an_encoder_of_whole_images_and_cost_less(images: ImageSet) -> None:
    whole, small = method(), method()
    ssl.train(small, images, ssl.Views(size=8), recipe(epochs=1))
    assert small.encoder.image_size == whole.encoder.image_size == 16
    assert small.macs_per_image < 0.5 * whole.macs_per_image
    assert small.encoder.gated(images.images[:2]).shape == (2, 32)
    with pytest.raises(InputError, match="found 16 px, and views of 8 px; expected 12"):
        other = ssl.methods.DualGating(
            ssl.encoders.gated_resnet18(width=4, image_size=12), None, 0.9
        )
        ssl.train(other, images, ssl.Views(size=8), recipe(epochs=1))


def test_a_training_that_begins_with_trained_weights_keeps_their_pixels(images: ImageSet) -> None:
    start = ssl.train(method(), images, ssl.Views(), recipe(epochs=1)).encoder
    start.pixel_mean.fill_(0.25)
    setup = ssl.encoders.gated_resnet18(width=4, stem=start.config.stem, image_size=16, start=start)
    again = ssl.train(ssl.methods.VICReg(setup), images, ssl.Views(), recipe(epochs=1)).encoder
    assert again.pixel_mean.flatten().tolist() == [0.25] * 3


def test_an_encoder_takes_what_a_person_has(images: ImageSet, tmp_path: Path) -> None:
    encoder = method().encoder.eval()
    expected = encoder.gated(images[:2])
    assert expected.shape == (2, 32)
    assert not expected.requires_grad
    pixels = images.images[:2]
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in pixels]
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    for form in (pixels, torch.from_numpy(pixels.copy()), pictures, paths, [str(p) for p in paths]):
        assert torch.allclose(encoder.gated(form), expected)
    assert torch.allclose(encoder.gated(paths[1]), expected[1:], atol=1e-6)
    with pytest.raises(InputError, match="224 x 224 px; expected 16 x 16, which this encoder"):
        encoder.dense(np.zeros((1, 3, 224, 224), np.uint8))


def test_images_come_by_path(tmp_path: Path) -> None:
    for name in ("ape", "bee"):
        (tmp_path / name).mkdir()
        for index in range(5):
            Image.new("RGB", (20, 20), (index, 0, 0)).save(tmp_path / name / f"{index}.png")
    found = ssl.load_images(tmp_path, size=16)
    assert found.class_names == ("ape", "bee")
    assert ssl.load_images(str(tmp_path), size=16).fingerprint() == found.fingerprint()


def test_a_recipe_for_several_processes_is_refused(images: ImageSet) -> None:
    with pytest.raises(ConfigError, match="pipelines train in several processes"):
        ssl.train(method(), images, ssl.Views(), recipe(workers=2))


def test_batches_that_a_method_cannot_take_are_refused(images: ImageSet) -> None:
    made = ssl.methods.WMSE(ssl.encoders.gated_resnet18(width=4, image_size=16))
    with pytest.raises(ConfigError, match=r"sub_batch = 128: expected a divisor of .* 10"):
        ssl.train(made, images, ssl.Views(), recipe())

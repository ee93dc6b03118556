"""Encoders that name classes: the same after they were saved, and nothing damaged is believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import ssl_kedro as ssl
from oracles.norms import with_used_norms
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.classifier import NAMES, WEIGHTS, Classifier, Head, with_classifier
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.served import Served

CLASSES = ("cat", "dog", "red panda")


def plain_encoder() -> GatedResNet18:
    torch.manual_seed(0)
    shape = EncoderConfig("cifar_pad1", 4)
    return with_used_norms(GatedResNet18(shape, image_size=16)).eval()


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    plain = plain_encoder()
    draw, heads = torch.Generator().manual_seed(1), {}
    for branch in plain.branches:
        weight = torch.randn(plain.feature_dimensions, 3, generator=draw)
        # About the mean feature, so that images fall into several classes.
        features = plain.features(pictures(), branch)
        weight *= 2 / (features @ weight).std(dim=0)
        heads[branch] = Head(weight, -(features @ weight).mean(dim=0))
    return with_classifier(plain, Classifier(CLASSES, heads))


@pytest.fixture
def folder(encoder: Encoder, tmp_path: Path) -> Path:
    ssl.save_encoder(encoder, tmp_path / "bundle")
    return tmp_path / "bundle"


def pictures(count: int = 12) -> torch.Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (count, 3, 16, 16), generator=draw, dtype=torch.uint8)


@pytest.mark.parametrize("branch", ["dense", "gated"])
def test_names_are_the_argmax_of_a_manual_product(encoder: Encoder, branch: str) -> None:
    features = encoder.features(pictures(), branch).double().numpy()  # type: ignore[arg-type]
    head = encoder.classifier.heads[branch]  # type: ignore[union-attr, index]
    logits = features @ head.weight.double().numpy() + head.bias.double().numpy()
    expected = [CLASSES[place] for place in logits.argmax(axis=1)]
    assert len(set(expected)) > 1
    assert encoder.classify(pictures(), branch) == expected  # type: ignore[arg-type]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for guesses, row in zip(encoder.guesses(pictures(), branch, top=2), chances, strict=True):  # type: ignore[arg-type]
        best = np.argsort(-row)[:2]
        assert [name for name, _ in guesses] == [CLASSES[place] for place in best]
        assert [p for _, p in guesses] == pytest.approx(row[best].tolist(), abs=1e-3)


def test_a_saved_encoder_names_the_same_from_a_file(
    encoder: Encoder, folder: Path, tmp_path: Path
) -> None:
    loaded = ssl.load_encoder(folder)
    assert loaded.classify(pictures(), "gated") == encoder.classify(pictures(), "gated")
    file = tmp_path / "photo.png"
    Image.fromarray(pictures()[0].permute(1, 2, 0).numpy()).save(file)
    assert loaded.classify(file) == encoder.classify(pictures()[:1])
    [guesses] = loaded.guesses(file)
    assert len(guesses) == 3 and sum(p for _, p in guesses) == pytest.approx(1)


def test_what_identifies_the_weights_does_not_know_of_it(encoder: Encoder, tmp_path: Path) -> None:
    plain = plain_encoder()
    assert weight_fingerprint(encoder) == weight_fingerprint(plain)
    assert plain.classifier is None  # a copy got it
    for name, one in (("with", encoder), ("without", plain)):
        ssl.save_encoder(one, tmp_path / name)
    for file in ("config.json", "weights.safetensors"):
        assert (tmp_path / "with" / file).read_bytes() == (tmp_path / "without" / file).read_bytes()


def test_without_one_it_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"keep_head=true .*ssl\.add_classifier"):
        plain_encoder().classify(pictures())


def other_tensors(tensors: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    """What damage makes of the layers."""
    without = {"no bias": "dense.bias", "no weight": "dense.weight"}.get(how)
    if hasattr(torch, how):
        return {k: v.to(getattr(torch, how)) for k, v in tensors.items()}
    if how == "a tensor more":
        return {**tensors, "red.scale": torch.ones(3)}
    if how == "other features":
        return {k: v[:5].contiguous() if v.ndim == 2 else v for k, v in tensors.items()}
    if how == "another branch":
        return {k.replace("gated", "blue"): v for k, v in tensors.items()}
    if how == "not finite":
        return {**tensors, "dense.bias": torch.full((3,), float("nan"))}
    return {k: v for k, v in tensors.items() if k != without}


def damage(folder: Path, how: str) -> None:
    names, weights = folder / NAMES, folder / WEIGHTS
    described = json.loads(names.read_text())
    changed = {
        "a class more": described | {"class_names": [*CLASSES, "owl"]},
        "numbers as names": described | {"class_names": [1, 2, 3]},
        "another format": {"class_names": list(CLASSES)},
        "a list": [],
    }
    if how in changed:
        names.write_text(json.dumps(changed[how]))
    elif how == "no names":
        names.unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:50])
    elif how == "another encoder":
        torch.manual_seed(9)
        other = GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)
        ssl.save_encoder(other, folder.parent / "other")
        for file in ("config.json", "weights.safetensors"):
            shutil.copy(folder.parent / "other" / file, folder)
    else:
        save_file(other_tensors(load_file(weights), how), weights)


@pytest.mark.parametrize(
    ("how", "file"),
    [
        ("no names", NAMES), ("a list", NAMES), ("another format", NAMES),
        ("numbers as names", NAMES), ("no weights", WEIGHTS), ("cut", WEIGHTS),
        ("a class more", WEIGHTS), ("no bias", WEIGHTS), ("other features", WEIGHTS),
        ("another branch", WEIGHTS), ("not finite", WEIGHTS), ("no weight", WEIGHTS),
        ("a tensor more", WEIGHTS), ("float64", WEIGHTS), ("bfloat16", WEIGHTS),
        ("int64", WEIGHTS), ("bool", WEIGHTS), ("another encoder", NAMES),
    ],
)  # fmt: skip
def test_a_damaged_one_is_refused_by_file(folder: Path, how: str, file: str) -> None:
    damage(folder, how)
    with pytest.raises(InputError, match=r"remove classifier\.json") as caught:
        ssl.load_encoder(folder)
    assert str(folder / file) in str(caught.value)
    shutil.copytree(folder, folder.parent / "bare")
    for name in (NAMES, WEIGHTS):
        (folder.parent / "bare" / name).unlink(missing_ok=True)
    assert ssl.load_encoder(folder.parent / "bare").classifier is None


def test_a_branch_without_a_layer_and_no_guesses_are_refused(encoder: Encoder) -> None:
    dense = {"dense": encoder.classifier.heads["dense"]}  # type: ignore[union-attr]
    one = with_classifier(plain_encoder(), Classifier(CLASSES, dense))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no head for the 'gated' branch"):
        one.classify(pictures(), "gated")
    # Where none is named it is one that has a layer, the gated one before the dense.
    assert one.classify(pictures()) == one.classify(pictures(), "dense")
    assert encoder.classify(pictures()) == encoder.classify(pictures(), "gated")
    with pytest.raises(ValueError, match="top = 0"):
        one.guesses(pictures(), top=0)


def test_a_served_one_gives_names_and_probabilities(encoder: Encoder) -> None:
    served, shown = Served(encoder), pictures().numpy()
    names = served.predict(shown, {"output": "classes", "branch": "dense"})
    assert names.tolist() == encoder.classify(pictures(), "dense")
    assert served.predict(shown, {"output": "classes"}).tolist() == encoder.classify(pictures())
    chances = served.predict(shown, {"output": "probabilities"})
    assert chances.shape == (12, 3)
    assert [CLASSES[i] for i in chances.argmax(axis=1)] == encoder.classify(pictures(), "gated")
    assert served.predict(shown).shape == (12, encoder.feature_dimensions)
    with pytest.raises(ValueError, match="output = 'what'"):
        served.predict(shown, {"output": "what"})


def test_a_layer_is_trained_from_python_and_is_the_first_run_of_the_probe() -> None:
    images = ssl.load_images("textures", size=16, generated=100)
    made = ssl.add_classifier(plain_encoder(), images)
    names = np.array(made.classify(images.images))
    truth = np.array(images.class_names)[images.labels]
    assert (names == truth).mean() > 0.3
    unlabelled = type(images)(images.images, None, (), "mine")
    with pytest.raises(InputError, match="without labels"):
        ssl.add_classifier(plain_encoder(), unlabelled)


def test_images_that_no_layer_can_be_trained_on_are_refused_before_any_is_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, large = plain_encoder(), ssl.load_images("textures", size=24, generated=20)
    monkeypatch.setattr(GatedResNet18, "forward", None)
    with pytest.raises(InputError, match="found 24 px; expected 16, which the encoder was made"):
        ssl.add_classifier(plain, large)
    with pytest.raises(InputError, match="without labels"):
        ssl.add_classifier(plain, type(large)(large.images, None, (), "mine"))

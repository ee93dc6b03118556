"""Each quirk of the authors' code, against what the text of the quirk says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from saliency.scoring_for_tests import score
from ssl_kedro.augment.config import PanoramaViewConfig
from ssl_kedro.augment.panorama_views import PanoramaViews
from ssl_kedro.datasets.handles import CheckpointDataset, EpochLogDataset, PanoramaStoreDataset
from ssl_kedro.pipelines.parameters import parsed
from ssl_kedro.pipelines.saliency360 import nodes, scoring
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import QUIRKS
from ssl_kedro.saliency.ground_truth import truth_arrays
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.generated import GeneratedPanoramas
from ssl_kedro.saliency.store import StoredPanoramas

SIZE = (48, 96)


def parameters(recipe: str = "fixed", **changes: object) -> Saliency360Parameters:
    # Nothing left to try: the networks see no images but the run's own.
    chosen = {"precision": "fp32", "memory_format": "channels_last"}
    trained = {"epochs": 1, "batch_size": 2, "warmup_epochs": 0, **chosen}
    return parsed(
        Saliency360Parameters,
        "saliency360",
        {
            "recipe": recipe,
            "image": {"height": SIZE[0], "width": SIZE[1]},
            "truth": {"height": SIZE[0]},
            "encoder": {"width": 0.1, "architecture": "vgg16"},
            "contrast": {"negatives": 4, "embedding": 8},
            "views": {"flip": 0.0},
            "train": {**trained, "optimiser": "sgd", "lr": 0.1},
            "decoder": {"width": 0.1},
            "decoder_train": {**trained, "optimiser": "adam", "lr": 1.0},
            "encoders": {"contrastive": {}},
            "models": {"contrastive": {"encoder": "contrastive"}},
            **changes,
        },
    )


class Fitted:
    """What the nodes leave for one recipe: the encoder before and after a decoder is trained."""

    def __init__(self, folder, p: Saliency360Parameters) -> None:  # type: ignore[no-untyped-def]
        source = GeneratedPanoramas(SourceConfig(count_train=4, count_test=2))
        store = PanoramaStoreDataset(filepath=str(folder / "store")).load()
        stored = store.fill(source, list(range(6)), SIZE, label="generated")
        truth = truth_arrays(source, list(range(6)), "auto", SIZE[0], 5.0)
        self.seen: list[torch.Tensor] = []
        handle = nn.modules.module.register_module_forward_pre_hook(self._note)

        def places(name: str):  # type: ignore[no-untyped-def]
            return (
                CheckpointDataset(filepath=str(folder / f"{name}.safetensors")).load(),
                EpochLogDataset(filepath=str(folder / f"{name}.jsonl")).load(),
            )

        try:
            self.encoder = nodes.pretrain(
                p, stored, store, *places("pretrain"), encoder="contrastive"
            )["network"]
            self.pretraining, self.seen = self.seen, []
            self.before = {k: v.clone() for k, v in self.encoder.state_dict().items()}
            self.config = dataclasses.replace(self.encoder.config)
            priors = scoring.learn_priors(p, stored, truth)
            self.model = nodes.fit(
                p,
                self.encoder,
                stored,
                store,
                truth,
                priors,
                *places("fit"),
                model="contrastive",
                part_name="given",
            )["model"]
            self.decoding = self.seen
        finally:
            handle.remove()

    def _note(self, module: nn.Module, inputs: tuple[object, ...]) -> None:
        """What the first layer of an encoder is given."""
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            self.seen.append(inputs[0].detach().clone())  # type: ignore[attr-defined]

    @property
    def changed(self) -> set[str]:
        after = self.model.encoder.state_dict()
        return {k for k, v in self.before.items() if not torch.equal(v, after[k])}


def test_every_quirk_is_one_of_the_recipe() -> None:
    assert parameters("authors").recipe == QUIRKS
    assert parameters("fixed").recipe == ()


@pytest.mark.parametrize("size", [(160, 320), (32, 64)])
def test_centre_crop_is_the_middle_stretched(size: tuple[int, int]) -> None:
    """Of 160 x 320 the columns 48 to 271: 160 x 224, brought back to the whole width."""
    still = {"projections": False, "shift_px": 0.0, "jitter": 0.0, "grey": 0.0, "flip": 0.0}
    views = PanoramaViews(PanoramaViewConfig(authors_crop=True, **still))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, *size), generator=generator, dtype=torch.uint8)
    source, other = views(images, generator)
    inner = round(size[1] * 0.7)
    left = (size[1] - inner) // 2
    pixels = images.double() / 255
    expected = nn.functional.interpolate(
        pixels[..., left : left + inner], size, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(source, pixels.float())
    # At the cut edges the interpolation may also see the column beyond.
    torch.testing.assert_close(other[..., 2:-2], expected[..., 2:-2].float(), atol=1e-4, rtol=0)


def test_raw_bgr_is_for_the_decoder_only(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Pre-training sees normalised RGB; the decoder's encoder 0 to 255, blue first."""
    fixed = Fitted(tmp_path / "fixed", parameters())
    quirk = Fitted(tmp_path / "quirk", parameters("raw_bgr"))
    for one, other in zip(fixed.pretraining, quirk.pretraining, strict=True):
        assert torch.equal(one, other)
        assert float(one.min()) < 0 and float(one.max()) < 3
    mean, std = (
        torch.tensor(values)[:, None, None]
        for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    for one, other in zip(fixed.decoding, quirk.decoding, strict=True):
        torch.testing.assert_close(other, (one * std + mean).flip(1) * 255, atol=1e-2, rtol=0)
    assert quirk.model.encoder.config.raw_bgr
    # The node leaves the encoder that it was given as it was.
    assert quirk.encoder.config == quirk.config
    assert not quirk.encoder.config.raw_bgr


@pytest.mark.parametrize("architecture", ["vgg16", "resnet50"])
def test_tuned_norms_train_biases_and_norms_of_a_frozen_encoder(  # type: ignore[no-untyped-def]
    tmp_path, architecture: str
) -> None:
    shape = {"encoder": {"width": 0.1, "architecture": architecture}}
    assert Fitted(tmp_path / "fixed", parameters(**shape)).changed == set()
    quirk = Fitted(tmp_path / "quirk", parameters("tuned_norms", **shape))
    norms = {
        name
        for name, module in quirk.model.encoder.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    may = {k for k in quirk.before if k.endswith("bias") or k.rpartition(".")[0] in norms}
    assert quirk.changed <= may
    # Biases behind a batch norm get no gradient; all others move.
    assert {k for k in may if k.rpartition(".")[0] in norms} <= quirk.changed
    assert quirk.changed
    # The encoder that the node was given stays.
    assert all(torch.equal(v, quirk.before[k]) for k, v in quirk.encoder.state_dict().items())


def test_last_sample_loss_trains_on_the_last_sample_of_each_batch() -> None:
    p = parameters("last_sample_loss")
    assert p.decoding_of("contrastive").last_sample_only
    assert not parameters("centre_crop;raw_bgr").decoding_of("contrastive").last_sample_only


def test_both_eyes_are_averaged_and_rows_multiplied_by_the_sine() -> None:
    p = parameters()
    rng = np.random.default_rng(0)
    truth_map, prediction, other = rng.random((3, 16, 32)).astype(np.float32) + 0.1
    eyes = [
        Fixations(rng.uniform(-180, 180, 9), rng.uniform(-80, 80, 9), np.arange(9) % 3)
        for _ in range(2)
    ]

    class Source(GeneratedPanoramas):
        def saliency(self, index: int) -> np.ndarray:
            return truth_map

        def fixation_sets(self, index: int) -> tuple[Fixations, ...]:
            return tuple(eyes)

    source = Source(SourceConfig(count_train=1, count_test=1))
    truth = truth_arrays(source, [0, 1], "auto", 16, 5.0)
    stored = StoredPanoramas(["a", "b"], ["a", "b"], ["train", "test"])
    priors = {"given.equator": other, "given.mean": other}
    predictions = {"maps": prediction[None], "rows": np.array([1])}
    found = scoring.score_model(p, stored, truth, priors, predictions, own=True)
    sine = np.sin(np.linspace(0, np.pi, 16))[:, None]
    for metric in ("auc_judd", "nss"):
        by_hand = [
            score(prediction * sine + 1e-12, truth_map, eye, "planar", equator_prior=other)[metric]
            for eye in eyes
        ]
        assert by_hand[0] != by_hand[1]
        assert found.scores["authors"][metric][0] == pytest.approx(np.mean(by_hand), abs=1e-5)

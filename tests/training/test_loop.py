from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from small_methods import small_options
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.encoders.factory import EncoderSetup
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.gating.budget import GateConfig
from ssl_kedro.methods.base import ExpanderConfig, Method, MethodConfig
from ssl_kedro.methods.plan import MethodPlan
from ssl_kedro.training.batches import BatchSource
from ssl_kedro.training.checkpoints import Checkpoint, CheckpointError, CheckpointStore, EpochLog
from ssl_kedro.training.config import TrainConfig
from ssl_kedro.training.divergence import TrainingDiverged
from ssl_kedro.training.loop import TrainingResult, train

NewMethod = Callable[[], Method]


class Killed(BaseException):
    """Stands for a kill: not an Exception, so that nothing may swallow it."""


class KillAfter(RandomViews):
    """Views that kill the process in the middle of an epoch."""

    def __init__(self, views: RandomViews, calls: int) -> None:
        super().__init__(views.config)
        self.calls = calls

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.calls -= 1
        if self.calls < 0:
            raise Killed
        return super().__call__(images, generator)


def config(**changes: object) -> TrainConfig:
    values = {
        "epochs": 4,
        "batch_size": 8,
        "lr": 3.0,
        "warmup_epochs": 1,
        "device": "cpu",
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def run(
    method: Method, source: BatchSource, views: SeveralViews, recipe: TrainConfig, **options: object
) -> TrainingResult[Method]:
    return train(method, source, views, recipe, **options)  # type: ignore[arg-type]


# State that a method has of its own.
OWN = {
    "seed": "queue",
    "byol_dual_gating": "target.",
    "dual_gating": "multiplier",
    "moco_v2_dual_gating": "queue",
    "dino_gating": "centre",
}
# Every optimiser and every moment once; the others are slow tests.
AT_ONCE = {(3, "lars"), (15, "sgd"), (35, "adam"), (15, "adamw")}


def numbers(result: TrainingResult[Method]) -> list[dict[str, float]]:
    """History without the timing."""
    timing = {"images_per_second"}
    return [{k: v for k, v in row.items() if k not in timing} for row in result.history]


@pytest.mark.parametrize(
    ("killed_at_call", "optimiser"),
    [
        pytest.param(call, name, marks=() if (call, name) in AT_ONCE else pytest.mark.slow)
        for call in (3, 15, 35)
        for name in ("lars", "sgd", "adam", "adamw")
    ],
)
def test_resumed_training_equals_the_uninterrupted_one(
    tmp_path: Path,
    source: BatchSource,
    views: SeveralViews,
    new_method: NewMethod,
    optimiser: str,
    killed_at_call: int,
) -> None:
    lr = {"lars": 3.0, "sgd": 0.1, "adam": 0.05, "adamw": 0.05}[optimiser]
    recipe = config(optimiser=optimiser, lr=lr)
    whole = run(new_method(), source, views, recipe)
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Killed):  # two views a batch, five batches an epoch
        run(
            new_method(),
            source,
            SeveralViews(KillAfter(views.views, killed_at_call)),
            recipe,
            checkpoints=store,
        )
    again = run(
        new_method(),
        source,
        views,
        config(optimiser=optimiser, lr=lr, resume=True),
        checkpoints=store,
    )
    assert numbers(again) == numbers(whole)
    for (name, found), expected in zip(
        again.method.state_dict().items(), whole.method.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name


@pytest.mark.parametrize("name", list(OWN))
def test_methods_with_state_of_their_own_resume_exactly(
    tmp_path: Path, source: BatchSource, views: SeveralViews, name: str
) -> None:
    """Queues, targets, centres and the multiplier of dual ascent."""
    torch.manual_seed(0)
    shape = EncoderConfig(width=4)
    teacher = GatedResNet18(shape, branches=("dense",), image_size=16).eval()
    setup = EncoderSetup(shape, 16, (0.5,) * 3, (0.25,) * 3, teacher)
    gates = GateConfig(steering="dual_ascent")
    method_config = MethodConfig(ExpanderConfig(16, 16), gates=gates, options=small_options(name))

    def fresh() -> Method:
        return MethodPlan(name, setup, method_config, 0.5, seed=3).build()

    whole = run(fresh(), source, views, config(lr=0.5))
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    with pytest.raises(Killed):
        run(
            fresh(),
            source,
            SeveralViews(KillAfter(views.views, 15)),
            config(lr=0.5),
            checkpoints=store,
        )
    again = run(fresh(), source, views, config(lr=0.5, resume=True), checkpoints=store)
    assert numbers(again) == numbers(whole)
    state = again.method.state_dict()
    for key, expected in whole.method.state_dict().items():
        assert torch.equal(state[key], expected), key
    assert any(OWN[name] in key for key in state)


def test_resuming_a_finished_training_changes_nothing(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    first = run(new_method(), source, views, config(), checkpoints=store)
    second = run(new_method(), source, views, config(resume=True), checkpoints=store)
    assert second.history == first.history
    assert second.seconds == pytest.approx(first.seconds, abs=1.0)
    for a, b in zip(
        first.method.state_dict().values(), second.method.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_same_seed_same_numbers_other_seed_other_numbers(
    images: object, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    first = run(new_method(), source, views, config(epochs=2))
    torch.manual_seed(123)  # the global generator has no say
    second = run(new_method(), source, views, config(epochs=2))
    assert numbers(first) == numbers(second)
    other = BatchSource(images, 8, torch.device("cpu"), seed=4)  # type: ignore[arg-type]
    assert numbers(run(new_method(), other, views, config(epochs=2))) != numbers(first)


def test_checkpoint_of_another_run_is_refused_by_name(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    run(new_method(), source, views, config(), checkpoints=store, identity={"seed": 1, "lr": 2})
    with pytest.raises(CheckpointError, match=r"lr: checkpoint 2, now 3.*resume=false"):
        run(
            new_method(),
            source,
            views,
            config(resume=True),
            checkpoints=store,
            identity={"seed": 1, "lr": 3},
        )


def test_damaged_checkpoint_is_named(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    store.path.write_bytes(b"\x10\x00")
    with pytest.raises(CheckpointError, match=r"c\.safetensors is not a readable checkpoint"):
        run(new_method(), source, views, config(resume=True), checkpoints=store)
    # Without resume it is replaced.
    run(new_method(), source, views, config(epochs=2), checkpoints=store)
    assert store.load().epoch == 2  # type: ignore[union-attr]


class Poisoned(RandomViews):
    """Views that turn into not-a-number from some call on."""

    def __init__(self, views: RandomViews, calls: int) -> None:
        super().__init__(views.config)
        self.calls = calls

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.calls -= 1
        found = super().__call__(images, generator)
        return found * float("nan") if self.calls < 0 else found


def test_divergence_stops_before_the_weights_are_touched(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    store = CheckpointStore(tmp_path / "c.safetensors")
    method = new_method()
    with pytest.raises(TrainingDiverged, match="epoch 2, batch 3") as error:
        run(method, source, SeveralViews(Poisoned(views.views, 14)), config(), checkpoints=store)
    assert "train.lr" in str(error.value)
    assert all(bool(torch.isfinite(p).all()) for p in method.parameters())
    kept = store.load()
    assert kept is not None
    assert kept.epoch == 1
    assert all(bool(torch.isfinite(t).all()) for t in kept.tensors.values())


def test_epoch_log_holds_every_epoch_and_restarts(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    path = tmp_path / "epochs.jsonl"
    path.write_text("stale\n")
    log = EpochLog(path)
    seen: list[Mapping[str, float]] = []
    log.subscribe(seen.append)
    result = run(new_method(), source, views, config(epochs=3), log=log)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows == result.history == seen
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"loss", "lr", "invariance", "flop_ratio", "images_per_second"} <= rows[0].keys()


def test_checkpoints_follow_the_interval_and_the_last_epoch(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    saved: list[int] = []

    class Recording(CheckpointStore):
        def save(self, checkpoint):  # type: ignore[no-untyped-def]
            saved.append(checkpoint.epoch)

    store = Recording(tmp_path / "c.safetensors")
    run(new_method(), source, views, config(epochs=5, checkpoint_every=2), checkpoints=store)
    assert saved == [2, 4, 5]


def test_method_is_told_of_every_update(
    new_method: NewMethod, source: BatchSource, views: SeveralViews
) -> None:
    method = new_method()
    told: list[float] = []
    weights: list[torch.Tensor] = []

    def after_update(images: torch.Tensor, progress: float) -> None:
        assert (len(images), images.dtype) == (source.batch_size, torch.uint8)
        told.append(progress)
        weights.append(method.encoder.stem[0].weight.detach().clone())

    started: list[float] = []
    seen: list[int] = []

    def before_step(progress: float, indices: torch.Tensor) -> None:
        started.append(progress)
        seen.extend(indices.tolist())

    method.before_step = before_step  # type: ignore[method-assign]
    method.after_update = after_update  # type: ignore[method-assign]
    train(method, source, views, config(epochs=2))
    total = 2 * source.batches_per_epoch
    assert told == [(step + 1) / total for step in range(total)]
    assert started == [step / total for step in range(total)]
    per_epoch = source.batches_per_epoch * source.batch_size
    assert len(set(seen[:per_epoch])) == per_epoch
    # Called behind the update: each time the weights are new.
    assert not torch.equal(weights[0], weights[1])
    assert torch.equal(weights[-1], method.encoder.stem[0].weight)


def test_a_checkpoint_with_the_state_of_something_else_is_named(
    tmp_path: Path, source: BatchSource, views: SeveralViews, new_method: NewMethod
) -> None:
    store = CheckpointStore(tmp_path / "checkpoint.safetensors")
    history = [{"epoch": 1.0}]
    for tensors in ({"model.other": torch.ones(1)}, {"nothing": torch.ones(1)}):
        store.save(Checkpoint(tensors, 1, history, {}, 1.0))
        with pytest.raises(CheckpointError, match=r"does not hold the state.*resume=false"):
            run(new_method(), source, views, config(resume=True), checkpoints=store)

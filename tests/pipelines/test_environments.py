"""The environments of the thesis' data sets: what they say, and that one of them runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import STL10

from conftest import ROOT, TINY, Project
from ssl_kedro import settings
from ssl_kedro.encoders.bundle import load_encoder
from ssl_kedro.encoders.factory import cost_at
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.methods.base import training_macs
from ssl_kedro.pipelines import dual_gating, dynamic_channels, effective_parameters
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.parameters import parsed

ENVIRONMENTS = ("cifar10", "cifar100", "stl10", "imagenet100")

# Thesis 6.3.1, the authors' scripts, and the papers of VICReg, Barlow Twins, BYOL, SimReg
# and SEED where those say nothing: one recipe for all data sets.
COMMON: dict[str, Any] = {
    "encoder.width": 64,
    "encoder.inner_channels": None,
    "expander.hidden": 2048,
    "expander.output": 2048,
    "views.crop_scale": (0.2, 1.0),
    "views.crop_ratio": (3 / 4, 4 / 3),
    "views.size": None,
    "views.flip": 0.5,
    "views.jitter": 0.8,
    "views.brightness": 0.4,
    "views.contrast": 0.4,
    "views.saturation": 0.2,
    "views.hue": 0.1,
    "views.grey": 0.2,
    "views.solarize": 0.1,
    "views.noise": 0,
    "views.blur": 0,
    "encoder.separate_norms": "blocks",
    "distillation.teacher": "vicreg",
    "distillation.teachers": {},
    "vicreg.invariance": 25,
    "vicreg.variance": 25,
    "vicreg.covariance": 1,
    "vicreg.convention": "thesis",
    "gates.sparsity": 5,
    "gates.bound": 1,
    "gates.bound_decay": 0.02 * 500,
    "gates.reduction": 4,
    "gates.temperature": pytest.approx(2 / 3),
    "gates.steering": "fixed",
    "gates.diversity": 0,
    "gates.warmup": 0,
    "gates.input_dependent": True,
    "train.epochs": 500,
    "train.batch_size": 512,
    "train.optimiser": "lars",
    "train.lr": 0.3,
    "train.peak_lr": pytest.approx(0.6),
    "train.warmup_epochs": 10,
    "train.warmup_lr": 0.003,
    "train.momentum": 0.9,
    "train.weight_decay": 1e-4,
    "train.lars_eta": 0.02,
    "train.gate_lr_factor": 1,
    "train.precision": "auto",
    "probe.epochs": 100,
    "probe.batch_size": 512,
    "probe.lr": 0.3,
    "probe.milestones": (0.6, 0.8),
    "probe.decay": 0.1,
    "probe.runs": 5,
    "knn.k": 1,
    "knn.normalise": False,
    "data.limit": None,
    "data.eval_limit": None,
    "published_data_is_ours": True,
}
METHODS: dict[str, dict[str, Any]] = {
    "barlow_dual_gating": {"redundancy": 0.0051, "scale": 0.024},
    "byol_dual_gating": {"momentum": 0.996},
    "seed": {"queue": 65_536},
    # What the base environment makes smaller and faster is as published again.
    **{
        f"{family}{form}": values
        for form in ("", "_gating", "_dual_gating")
        for family, values in {
            "byol": {"momentum": 0.996},
            "moco_v2": {"splits": 8},
            "moco_v3": {"momentum": 0.99, "temperature": 0.2},
            "wmse": {"embedding": 64, "sub_batch": 128},
            "dino": {
                "momentum": 0.996,
                "bottleneck": 256,
                "teacher_temperature": 0.07,
                "teacher_temperature_start": 0.04,
            },
        }.items()
    },
}
RECIPES: dict[str, dict[str, Any]] = {
    "simreg": {"epochs": 130, "batch_size": 256, "optimiser": "sgd", "lr": 0.05},
    "seed": {"epochs": 200, "batch_size": 256, "optimiser": "sgd", "lr": 0.03},
    # Those of Tables 6.4 to 6.6 train as dual gating does.
    "barlow_dual_gating": {"epochs": 500, "batch_size": 512, "optimiser": "lars", "lr": 0.3},
    "two_encoders": {"epochs": 500, "batch_size": 512, "optimiser": "lars", "lr": 0.3},
    "dino_dual_gating": {"epochs": 500, "optimiser": "lars", "lr": 0.3, "gate_lr_factor": 1},
}
# What the thesis has for each data set; MACs at width 64, Table 6.1 prints three digits.
OWN: dict[str, dict[str, Any]] = {
    "cifar10": {
        "data.source": "cifar10",
        "data.size": 32,
        "encoder.stem": "cifar",
        "gated_budgets": (0.1, 0.3, 0.5),
        "macs": 703_560_448,
        "published": "CIFAR-10",
    },
    "cifar100": {
        "data.source": "cifar100",
        "data.size": 32,
        "encoder.stem": "cifar",
        "gated_budgets": (0.1, 0.3, 0.5),
        "macs": 703_560_448,
        "published": "CIFAR-100",
    },
    "stl10": {
        "data.source": "stl10",
        "data.size": 96,
        "encoder.stem": "imagenet",
        "gated_budgets": (0.1, 0.3, 0.5),
        "macs": 333_103_104,
        "published": "STL-10",
    },
    "imagenet100": {
        "data.source": "imagenet100",
        "data.size": 224,
        "encoder.stem": "imagenet",
        "gated_budgets": (0.3, 0.5),
        "macs": 1_813_561_344,
        "published": "ImageNet-100",
    },
}
# Rows of Table 6.2.
TRANSFERS = {
    "cifar100": {"STL-10", "CIFAR-10", "ImageNet-100"},
    "imagenet100": {"STL-10", "CIFAR-10", "CIFAR-100"},
}
NAMES = {name: own["published"] for name, own in OWN.items()}


@pytest.fixture(params=ENVIRONMENTS)
def environment(request: pytest.FixtureRequest) -> str:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def parameters(environment: str, monkeypatch: pytest.MonkeyPatch) -> DualGatingParameters:
    """An environment's parameters, read and merged as `kedro run` does."""
    values = merged(environment, monkeypatch)["dual_gating"]
    return parsed(DualGatingParameters, "dual_gating", values)


def merged(environment: str | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(effective_parameters, "_source", [])
    monkeypatch.chdir(ROOT)
    loader = settings.CONFIG_LOADER_CLASS(
        str(ROOT / "conf"), env=environment, **settings.CONFIG_LOADER_ARGS
    )
    return loader["parameters"]  # type: ignore[no-any-return]


def at(parameters: Any, path: str) -> Any:
    for name in path.split("."):
        parameters = getattr(parameters, name)
    return parameters


def test_the_recipe_is_the_same_everywhere(parameters: DualGatingParameters) -> None:
    assert {path: at(parameters, path) for path in COMMON} == COMMON


def test_methods_have_the_recipes_of_their_papers(parameters: DualGatingParameters) -> None:
    for method, expected in METHODS.items():
        options = parameters.method_config(method).options
        assert {name: getattr(options, name) for name in expected} == expected
    for method, expected in RECIPES.items():
        recipe = parameters.train_config(method)
        assert {name: getattr(recipe, name) for name in expected} == expected


def test_each_data_set_has_its_own_size_stem_and_budgets(
    parameters: DualGatingParameters, environment: str
) -> None:
    own = dict(OWN[environment])
    macs = own.pop("macs")
    assert {path: at(parameters, path) for path in own} == own
    cost = cost_at(parameters.encoder, parameters.data.size, parameters.gates.reduction)
    assert cost.dense == macs


def test_transfers_are_the_rows_of_table_6_2(
    parameters: DualGatingParameters, environment: str
) -> None:
    transfer = parameters.transfer
    assert transfer.own == NAMES[environment]
    assert transfer.own not in transfer.targets
    assert not transfer.sources
    if environment in TRANSFERS:
        assert set(transfer.targets) == TRANSFERS[environment]
    for name in (transfer.own, *transfer.targets):
        assert transfer.published[name] == name
    for name in transfer.targets:
        assert NAMES[transfer.data[name].source] == name
        # Where the data set's own environment looks for it.
        assert transfer.data[name].root == f"data/01_raw/{transfer.data[name].source}"


@pytest.mark.parametrize("environment", [None, *ENVIRONMENTS], indirect=True)
@pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])
def test_peers_can_be_planned_in_every_environment(
    pipeline: ModuleType, environment: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = merged(environment, monkeypatch)[pipeline.PIPELINE.name]
    made = pipeline.create_pipeline(values, ("frontier",))
    widths = {node.namespace for node in made.nodes if ".thin" in str(node.namespace)}
    whole = values["encoder"]["width"]
    shares = sorted(int(str(name).split(".")[1].removeprefix("width_")) / whole for name in widths)
    assert shares == pytest.approx([0.375, 0.4375, 0.5625, 0.6875], abs=0.5 / whole)


def test_every_environment_reads_its_own_folder(
    parameters: DualGatingParameters, environment: str
) -> None:
    assert parameters.data.root == f"data/01_raw/{environment}"


@pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])
def test_few_labels_take_the_steps_and_batches_of_whole_data_sets(
    pipeline: ModuleType, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = merged(environment, monkeypatch)[pipeline.PIPELINE.name]["few_labels"]
    batch = 256 if environment == "imagenet100" else 128
    assert (found["least_steps"], found["batch_size"], found["scratch_lr"]) == (1000, batch, 0.1)


def test_what_only_the_text_says_is_in_its_recipe(
    environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5.3.1, 5.4; 6.3, 6.3.1 and eq. 2.5: what the authors' scripts have otherwise."""
    values = merged(environment, monkeypatch)
    for recipe, five, six in (
        ("authors", (0.0, True), (0.1, "blocks", "thesis")),
        ("text", (0.5, False), (0.0, "all", "text")),
    ):
        chapter_5, chapter_6 = (
            parsed(kind, key, values[key] | {"recipe": recipe})
            for kind, key in (
                (DynamicChannelsParameters, "dynamic_channels"),
                (DualGatingParameters, "dual_gating"),
            )
        )
        assert (chapter_5.views.blur, at(chapter_5, "encoder.zero_init_residual")) == five
        paths = ("views.solarize", "encoder.separate_norms", "vicreg.convention")
        assert tuple(at(chapter_6, path) for path in paths) == six
        assert chapter_5.views.blur_sigma == (0.1, 2.0)
        published = recipe == "text" and environment in TRANSFERS
        assert chapter_6.distillation.shown["seed"] == ("moco_v2" if published else "vicreg")
        assert chapter_6.distillation.shown["simreg"] == "vicreg"
        for chapter in (chapter_5, chapter_6):
            assert chapter.data.resize == (256 if environment == "imagenet100" else None)
            assert chapter.training_views.size == chapter.data.size


@pytest.mark.parametrize("environment", ["imagenet100"], indirect=True)
def test_images_of_224_px_are_never_held_in_memory(parameters: DualGatingParameters) -> None:
    """Not even the smallest part that the environment reads, 5,000 images of 147 KiB."""
    transfer = parameters.transfer
    for data in (parameters.data, *(transfer.data[name] for name in transfer.targets)):
        assert data.memory_limit_mb * 2**20 < 5_000 * 3 * 224**2 / 10


# --- a run

TINY_STL10 = {name: value for name, value in TINY.items() if not name.startswith("data.")} | {
    "budgets": 0.7,  # stem, downsample and gates cost half of so narrow a network
    "parts": "table_6_1",
    "train.epochs": 2,
    "train.batch_size": 10,
    "train.lr": 0.05,
    "train.warmup_epochs": 1,
    "views.size": 48,
}


def stl10_files(root: Path) -> dict[str, np.ndarray]:
    """STL-10's binary files with few images; the unlabelled ones are dark, the others not."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images = {}
    for split, count, low, high in (
        ("train", 30, 128, 256),
        ("test", 20, 128, 256),
        ("unlabeled", 40, 0, 100),
    ):
        pixels = generator.integers(low, high, (count, 3, 96, 96), dtype=np.uint8)
        (folder / f"{split}_X.bin").write_bytes(pixels.tobytes())
        # Published column by column: the last axis runs down the image.
        images[split] = np.ascontiguousarray(pixels.transpose(0, 1, 3, 2))
        if split != "unlabeled":
            labels = (np.arange(count) % 10 + 1).astype(np.uint8)
            (folder / f"{split}_y.bin").write_bytes(labels.tobytes())
    return images


def kedro_with_sums(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Kedro's command line, with the sums of the files at hand as the published ones."""
    folder = project.path / "data/01_raw/stl10/stl10_binary"
    sums = {
        attribute: [
            [name, hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()]
            for name, _ in getattr(STL10, attribute)
        ]
        for attribute in ("train_list", "test_list")
    }
    (project.path / "kedro_with_sums.py").write_text(
        "from torchvision.datasets import STL10\n"
        f"STL10.train_list, STL10.test_list = {sums['train_list']!r}, {sums['test_list']!r}\n"
        "from kedro.framework.cli import main\n"
        "main()\n"
    )
    return project.kedro(*arguments, module="kedro_with_sums")


@pytest.mark.slow
def test_stl10_pre_trains_on_its_unlabelled_part(project: Project) -> None:
    images = stl10_files(project.path / "data/01_raw/stl10")
    parameters = ",".join(f"dual_gating.{key}={value}" for key, value in TINY_STL10.items())
    done = kedro_with_sums(
        project, "run", "--pipeline", "dual_gating", "--env", "stl10", "--params", parameters
    )
    assert done.returncode == 0, done.stdout + done.stderr

    summary = json.loads(
        (project.path / "data/stl10/03_primary/dual_gating/data_summary.json").read_text()
    )
    assert summary["images"] == {"pretrain": 40, "train": 30, "eval": 20}
    assert summary["image_size"] == 96
    unlabelled = ImageSet(images["unlabeled"], None, (), "stl10")
    assert summary["fingerprints"]["pretrain"] == unlabelled.fingerprint()

    dark = images["unlabeled"].mean(axis=(0, 2, 3)) / 255
    for name in ("dual_gating.vicreg", "dual_gating.budget_70"):
        folder = project.path / "data/stl10/06_models" / name
        encoder = load_encoder(folder / "encoder")
        assert isinstance(encoder, GatedResNet18)
        assert encoder.image_size == 96  # that of the images, not of the views
        # Standardised with the statistics of the dark images ...
        assert encoder.pixel_mean.flatten().tolist() == pytest.approx(dark.tolist(), rel=1e-6)
        # ... and 2 epochs of all 40 of them, two views each, forward and backward.
        training = json.loads((folder / "training.json").read_text())
        assert training["macs"] == 2 * 40 * 2 * 3 * training_macs(encoder, 48)

    results = project.path / "data/stl10/08_reporting/dual_gating"
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["dense_macs"] == cost_at(EncoderConfig("imagenet", width=4), 96, 4).dense
    assert 0 <= metrics["dual.budget_70.gated.linear_top1_mean"] <= 1
    assert "STL-10" in (results / "report.html").read_text()

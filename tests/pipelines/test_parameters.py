from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dual_gating.part import parts
from ssl_kedro.pipelines.gated.nodes import training_identity
from ssl_kedro.pipelines.gated.records import DataSummary, Training
from ssl_kedro.pipelines.parameters import ParameterError, budget_name, parsed
from ssl_kedro.reporting.published import compared, published_recipe
from ssl_kedro.training.config import Execution, recipe_identity

CONF = Path(__file__).parents[2] / "conf"


def base() -> dict[str, Any]:
    text = (CONF / "base" / "parameters_dual_gating.yml").read_text()
    return yaml.safe_load(text)["dual_gating"]  # type: ignore[no-any-return]


def merged(environment: str) -> dict[str, Any]:
    values = base()
    text = (CONF / environment / "parameters_dual_gating.yml").read_text()
    for key, value in yaml.safe_load(text)["dual_gating"].items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    return values


def check(values: dict[str, Any]) -> DualGatingParameters:
    return parsed(DualGatingParameters, "dual_gating", values)


def test_base_parameters_are_valid() -> None:
    assert check(base()).gated_budgets == (0.1, 0.3, 0.5)


def test_cifar10_environment_is_the_recipe_of_6_3_1() -> None:
    p = check(merged("cifar10"))
    assert (p.encoder.width, p.encoder.stem) == (64, "cifar")
    assert (p.train.epochs, p.train.batch_size, p.train.optimiser) == (500, 512, "lars")
    assert (p.train.lr, p.train.peak_lr) == (0.3, 0.6)
    assert (p.train.warmup_epochs, p.train.warmup_lr) == (10, 0.003)
    assert (p.train.weight_decay, p.train.lars_eta) == (1e-4, 0.02)
    assert (p.expander.hidden, p.expander.output) == (2048, 2048)
    assert (p.gates.sparsity, p.gates.bound, p.gates.bound_decay) == (5, 1, 10)
    assert (p.views.crop_scale, p.views.flip) == ((0.2, 1.0), 0.5)
    assert (p.views.jitter, p.views.brightness, p.views.contrast) == (0.8, 0.4, 0.4)
    assert (p.views.saturation, p.views.hue) == (0.2, 0.1)
    assert (p.views.grey, p.views.solarize) == (0.2, 0.1)
    assert (p.probe.epochs, p.probe.batch_size, p.probe.lr, p.probe.runs) == (100, 512, 0.3, 5)
    assert p.view_size == 32


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({}, []),
        ({"encoder": {"architecture": "resnet34"}}, [("Backbone", "resnet18", "resnet34")]),
        (
            {"encoder": {"stages": [1, 1, 1, 1]}},
            [("Backbone", "resnet18", "resnet18 of (1, 1, 1, 1) blocks")],
        ),
        ({"views": {"size": 24}}, [("View side (px)", 32, 24)]),
    ],
)
def test_a_recipe_differs_from_the_published_one_where_it_does(
    changes: dict[str, dict[str, Any]], differs: list[tuple[str, Any, Any]]
) -> None:
    values = merged("cifar10")
    parameters = check(values | {name: values[name] | more for name, more in changes.items()})
    run = parameters.as_published({"data": {"images": {"pretrain": 50_000, "eval": 10_000}}})
    settings = compared(published_recipe("6", "CIFAR-10"), run | {"data.source": "CIFAR-10"})
    assert [(s.name, s.published, s.run) for s in settings if s.published != s.run] == differs


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.lr", -1, r"dual_gating\.train\.lr = -1\.0: expected a number above 0"),
        ("train.workers", 0, r"dual_gating\.train\.workers = 0: expected a number at least 1"),
        (
            "train.workers",
            3,
            r"train\.batch_size = 32: expected a multiple of workers \* nodes = 3",
        ),
        ("train.nodes", 2, r"train\.rendezvous = None: expected \"host:port\" with nodes = 2"),
        ("train.rendezvous", "a:1", r"train\.rendezvous = 'a:1': expected null with nodes = 1"),
        (
            "methods",
            {"seed": {"train": {"workers": 2}}},
            r"methods\.seed\.train\.workers = 2: expected nothing: it is set for the whole run",
        ),
        ("train.lrr", 1, r"dual_gating\.train\.lrr: there is no such key; did you mean 'lr'"),
        ("trian", {}, r"dual_gating\.trian: there is no such key; did you mean 'train'"),
        ("train.optimiser", "adagrad", r"dual_gating\.train\.optimiser = 'adagrad'.*lars"),
        ("train.device", "gpu0", r"dual_gating\.train\.device = 'gpu0'"),
        ("views.flip", 1.5, r"dual_gating\.views\.flip = 1\.5: expected .*at most 1"),
        ("views.crop_scale", [0.9, 0.2], r"dual_gating\.views\.crop_scale"),
        ("encoder.stem", "vgg", r"dual_gating\.encoder\.stem = 'vgg'.*imagenet"),
        ("data.source", "ftp", r"dual_gating\.data\.source = 'ftp'.*textures"),
        ("budgets", [], r"dual_gating\.budgets"),
        ("budgets", [0], r"dual_gating\.budgets = 0\.0: expected more than 0\.03\d+ and below 1"),
        ("budgets", [1.2], r"dual_gating\.budgets = 1\.2: expected more than 0\.03\d+ and below 1"),
        ("budgets", [math.nan], r"dual_gating\.budgets\.0 = nan: input should be a finite number"),
        ("budgets", [0.01], r"dual_gating\.budgets = 0\.01: expected more than 0\.03"),
        ("budgets", [0.305], r"whole percents"),
        ("budgets", [0.3, 0.3], r"each budget once"),
        ("budgets", "0.1;x", r"dual_gating\.budgets\.1 = 'x'"),
        ("seed", "soon", r"dual_gating\.seed = 'soon'"),
        ("repeats", 0, r"dual_gating\.repeats = 0"),
        ("parts", "table_6_9", r"dual_gating\.parts\.0 = 'table_6_9'.*'table_6_1'"),
        ("gates.steering", "pid", r"dual_gating\.gates\.steering = 'pid'.*dual_ascent"),
        ("methods.moco", {}, r"dual_gating\.methods = 'moco': expected names among .*simreg"),
        (
            "methods.seed.options.queue",
            1,
            r"dual_gating\.methods\.seed\.options\.queue = 1: expected .*at least 2",
        ),
        (
            "methods.seed.options.que",
            9,
            r"dual_gating\.methods\.seed\.options\.que = 9: .*known: queue, temperatures",
        ),
        (
            "methods.simreg.train.lr",
            0,
            r"dual_gating\.methods\.simreg\.train\.lr = 0\.0: expected a number above 0",
        ),
        (
            "transfer.targets",
            "digits;stl",
            r"dual_gating\.transfer\.targets = \['stl'\]: expected names among digits, textures",
        ),
        ("transfer.sources", ["textures"], r"dual_gating\.transfer\.sources = \['textures'\]"),
        ("transfer.data", {"a b": {}}, r"dual_gating\.transfer\.data = 'a b': expected names of"),
        (
            "methods.vicreg.train.precision",
            "fp32",
            r"methods\.vicreg\.train\.precision = 'fp32': expected nothing: it is set for",
        ),
        ("gates", {"steering": "dual_ascent", "bound_decay": 0}, r"gates\.bound_decay = 0"),
        ("transfer.own", "digits", r"dual_gating\.transfer\.own = 'digits'"),
    ],
)
def test_errors_name_key_value_and_what_is_allowed(path: str, value: Any, message: str) -> None:
    values = base()
    *parents, last = path.split(".")
    target = values
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value
    with pytest.raises(ParameterError, match=message) as error:
        check(values)
    assert "nothing was started" in str(error.value)


def test_all_faults_are_reported_together() -> None:
    values = base()
    values["train"]["lr"] = 0
    values["probe"]["runs"] = 0
    with pytest.raises(ParameterError, match="2 parameter") as error:
        check(values)
    assert "dual_gating.probe.runs = 0" in str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("0.1;0.3", (0.1, 0.3)), (0.3, (0.3,)), ([0.5], (0.5,)), ("0.25", (0.25,))],
)
def test_budgets_survive_the_command_line(given: Any, expected: tuple[float, ...]) -> None:
    assert check(base() | {"budgets": given}).budgets == expected


def test_budget_names_are_percents() -> None:
    assert [budget_name(b) for b in (0.05, 0.1, 0.29, 0.3)] == [
        "budget_05",
        "budget_10",
        "budget_29",
        "budget_30",
    ]


def test_parameters_pass_through_plain_values_unchanged() -> None:
    """The catalog and Kedro's own validation read the dumped form."""
    p = check(base())
    assert DualGatingParameters.model_validate(p.model_dump()) == p


def test_a_method_overrides_the_recipe_and_keeps_the_rest() -> None:
    p = check(base() | {"methods": {"simreg": {"train": {"epochs": 9, "lr": 0.05}}}})
    assert (p.train_config("simreg").epochs, p.train_config("simreg").lr) == (9, 0.05)
    assert p.train_config("simreg").batch_size == p.train.batch_size
    assert p.train_config("vicreg") == p.train


def test_gate_parameters_of_a_variant_leave_the_runs_own_alone() -> None:
    p = check(base())
    changed = p.method_config("dual_gating", {"steering": "dual_ascent"}).gates
    assert (changed.steering, p.gates.steering) == ("dual_ascent", "fixed")
    assert changed.sparsity == p.gates.sparsity


def test_all_parts_can_be_asked_for_by_one_word() -> None:
    assert check(base() | {"parts": "all"}).parts == tuple(
        name for name, part in parts().items() if part.kind != "method"
    )
    given = "table_6_4;question_1;table_6_4"
    assert check(base() | {"parts": given}).parts == ("table_6_4", "question_1")


@pytest.mark.parametrize(
    ("rendezvous", "precision", "message"),
    [
        ("somewhere", "fp32", r"train\.rendezvous = 'somewhere': expected \"host:port\""),
        ("somewhere:0", "fp32", r"train\.rendezvous = 'somewhere:0'"),
        (":29400", "fp32", r"train\.rendezvous = ':29400'"),
        ("somewhere:29400", "auto", r"train\.precision = 'auto': expected fp32 or bf16 with nodes"),
    ],
)
def test_machines_need_a_place_to_meet_and_one_precision(
    rendezvous: str, precision: str, message: str
) -> None:
    values = base()
    values["train"] |= {"nodes": 2, "rendezvous": rendezvous, "memory_format": "auto"}
    values["train"] |= {"precision": precision}
    with pytest.raises(ParameterError, match=message):
        check(values)
    values["train"] |= {"rendezvous": "[::1]:29400", "precision": "bf16", "workers": 4}
    with pytest.raises(ParameterError, match=r"memory_format = 'auto': expected channels_last or"):
        check(values)
    values["train"] |= {"memory_format": "contiguous"}
    assert check(values).train.processes == 8


def test_processes_that_share_a_batch_record_nothing_and_compile_only_when_told() -> None:
    values = base()
    values["train"] |= {"workers": 2, "graphs": "on"}
    with pytest.raises(ParameterError, match=r"train\.graphs = 'on': expected off or auto with"):
        check(values)
    values["train"] |= {"graphs": "auto"}
    tried = check(values).train.of_one_process
    assert (tried.workers, tried.graphs, tried.compile) == (1, "off", "off")
    values["train"] |= {"compile": "on"}
    assert check(values).train.of_one_process.compile == "on"
    values["train"] |= {"workers": 1, "compile": "auto"}
    alone = check(values).train.of_one_process
    assert (alone.graphs, alone.compile) == ("auto", "auto")


def test_workers_beyond_the_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    values = base()
    values["train"] |= {"workers": 4}
    with pytest.raises(
        ParameterError, match=r"train\.workers = 4: expected at most 2, one for each"
    ):
        check(values)
    values["train"] |= {"workers": 2, "device": "cuda:1"}
    with pytest.raises(
        ParameterError, match=r"train\.device = 'cuda:1': expected auto, cuda or cpu"
    ):
        check(values)
    values["train"] |= {"workers": 4, "device": "cpu"}
    assert check(values).train.workers == 4


def test_graphs_are_refused_before_anything_starts_where_no_device_has_them() -> None:
    values = base()
    values["train"] |= {"graphs": "on", "device": "cpu"}
    with pytest.raises(ParameterError, match=r"dual_gating\.train\.graphs = 'on': expected off or"):
        check(values)


def test_the_number_of_workers_is_no_part_of_what_a_training_is() -> None:
    values = base()
    identities = []
    values["train"] |= {"memory_format": "contiguous"}
    for changes in ({}, {"workers": 2}, {"nodes": 2, "rendezvous": "a:1", "workers": 2}):
        recipe = check(values | {"train": values["train"] | changes}).train
        identities.append(recipe_identity({"train": dataclasses.asdict(recipe)}))
    assert identities[0] == identities[1] == identities[2]


def test_what_the_trial_chose_may_be_asked_for_by_name_when_a_training_is_resumed() -> None:
    """A checkpoint knows what was chosen, not how it came to be."""
    values = base()
    chosen = Execution("cpu", "bf16", {}, "contiguous")
    means = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    data = DataSummary("textures", True, (), 32, *means, {}, {"pretrain": "f"})
    identities = []
    for asked in ("auto", "bf16"):
        values["train"] |= {"precision": asked}
        values["train"] |= {"memory_format": "auto" if asked == "auto" else "contiguous"}
        values["train"] |= {"compile": "auto" if asked == "auto" else "off"}
        training = Training("vicreg", None, 0)
        identities.append(training_identity(check(values), data, chosen, training))
    assert identities[0] == identities[1]
    for name, other in (("precision", "fp32"), ("memory_format", "channels_last"), ("compiled", 1)):
        found = training_identity(
            check(values), data, dataclasses.replace(chosen, **{name: other}), training
        )
        assert found[name] != identities[0][name]

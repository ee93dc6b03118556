"""The saliency360 pipeline: parameters, graph, and whole runs on tiny parameters."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from conftest import TINY_SALIENCY, Project, copied_project
from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines import saliency360
from ssl_kedro.pipelines.parameters import ParameterError, parsed
from ssl_kedro.pipelines.saliency360.parameters import Saliency360Parameters
from ssl_kedro.pipelines.saliency360.plans import QUIRKS, TEXT
from ssl_kedro.pipelines.saliency360.report.sentences import notes
from ssl_kedro.saliency.evaluation import TruthsOfTested
from ssl_kedro.saliency.ground_truth import fixations_of, truth_arrays
from ssl_kedro.saliency.panoramas import joined
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.generated import GeneratedPanoramas

KEY = "saliency360"
CONF = Path(__file__).parents[2] / "conf"
ENVIRONMENTS = ["", "salient360", "vr_eyetracking", "thesis_chapter4", "folder"]


def run(
    project: Project, changes: Mapping[str, object] | None = None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    values = {**TINY_SALIENCY, **(changes or {})}
    parameters = ",".join(f"{KEY}.{key}={value}" for key, value in values.items())
    return project.kedro("run", "--pipeline", KEY, "--params", parameters, *arguments)


def results(project: Project) -> Path:
    return project.path / "data/08_reporting" / KEY


def metrics(project: Project) -> dict[str, float]:
    return json.loads((results(project) / "metrics.json").read_text())  # type: ignore[no-any-return]


def merged(environment: str = "", **changes: object) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("base", environment):
        path = CONF / name / f"parameters_{KEY}.yml"
        if name and path.exists():
            _merge(found, yaml.safe_load(path.read_text())[KEY])
    for key, value in changes.items():
        *above, last = key.split("__")
        at = found
        for part in above:
            at = at[part]
        at[last] = value
    return found


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def check(values: dict[str, Any]) -> Saliency360Parameters:
    return parsed(Saliency360Parameters, KEY, values)


# --- parameters and graph


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_is_valid(environment: str) -> None:
    values = merged(environment)
    parameters = check(values)
    names = {node.name for node in saliency360.create_pipeline(values).nodes}
    assert f"{KEY}.check_sources" in names
    assert parameters.parts == ("given",)


@pytest.mark.parametrize("environment", ["salient360", "vr_eyetracking", "thesis_chapter4"])
def test_the_thesis_settings(environment: str) -> None:
    p = check(merged(environment))
    assert p.image.size == (160, 320)
    assert (p.encoder.width, p.decoder.kind, p.decoder.width) == (1.0, "thesis", 1.0)
    assert (p.contrast.local_weight, p.contrast.negatives) == (0.7, 16000)
    assert (p.contrast.temperature, p.contrast.bank_momentum) == (0.07, 0.5)
    # There are fewer than 80 panoramas of Salient360! for training.
    batch = 64 if environment == "salient360" else 80
    assert (p.train.epochs, p.train.batch_size, p.train.optimiser) == (250, batch, "sgd")
    assert p.train.peak_lr == pytest.approx(0.01)
    assert (p.decoder_train.epochs, p.decoder_train.batch_size) == (100, 64)
    assert (p.decoder_train.optimiser, p.decoder_train.weight_decay) == ("adam", 1e-4)
    assert p.decoder_train.peak_lr == pytest.approx(1e-4)
    assert (p.decoding.weighting, p.recipe) == ("planar", ())
    assert (p.contrast.head_end, p.decoder.prior, p.decoder.dropout) == ("relu", "none", 0.0)


def test_ablations_are_made_when_they_are_asked_for() -> None:
    p = check(merged())
    assert set(p.chosen_models()) == {"contrastive", "random"}
    assert set(p.chosen_encoders()) == {"contrastive", "random"}
    six = p.chosen_models(("local_weight",)).keys() - {"contrastive", "random"}
    cells = {(p.encoder_config(n).architecture, p.contrast_of(n)) for n in six}
    assert {name for name, _ in cells} == {"vgg16"}
    assert {(c.attention, c.local_weight) for _, c in cells} == {
        (attention, weight) for attention in (True, False) for weight in (0.5, 0.7, 0.9)
    }
    assert p.chosen_models(("architecture",)).keys() & six == {"vgg", "vgg_without_attention"}
    everything = check(merged(ablations=["all"]))
    assert set(everything.chosen_models()) == set(everything.models)
    nodes = saliency360.create_pipeline(merged(), ("projections",)).only_nodes_with_tags(
        "projections"
    )
    names = {node.short_name for node in nodes.nodes}
    assert {"pretrain_without_projections", "fit_without_projections_given"} <= names
    # The table needs what it is compared with.
    assert "collect" in names


PARTS = sorted({p for m in check(merged()).models.values() for p in m.part} - {"main"})


@pytest.mark.parametrize("part", PARTS)
def test_an_ablation_never_trains_encoders_of_the_main_models(part: str) -> None:
    graph = saliency360.create_pipeline(merged(), (part,))
    names = {node.short_name for node in graph.only_nodes_with_tags(part).nodes}
    assert not names & {"pretrain_contrastive", "random_random"}
    assert {"pretrain_contrastive", "random_random"} <= {n.short_name for n in graph.nodes}


def test_truths_know_the_fixations_of_all_others() -> None:
    source = GeneratedPanoramas(SourceConfig(count_train=2, count_test=4))
    truth = truth_arrays(source, list(range(6)), "fixations", 16, 20.0)
    rows = [4, 2, 5]
    truths = TruthsOfTested(truth, rows, [np.full((16, 32), row) for row in rows])
    found = list(truths)
    for index, row in enumerate(rows):
        expected = joined(fixations_of(truth, other) for other in rows if other != row)
        assert expected is not None
        assert found[index].others is not None
        for field in ("longitude_deg", "latitude_deg", "viewer"):
            np.testing.assert_array_equal(
                getattr(found[index].others, field), getattr(expected, field)
            )
        assert found[index].prior[0, 0] == row
        np.testing.assert_array_equal(found[index].truth, truth["maps"][row])
    assert [t.prior[0, 0] for t in truths] == rows
    (alone,) = TruthsOfTested(truth, [3], [np.zeros((16, 32))])
    assert alone.others is None


def test_a_part_alone_says_at_once_what_an_earlier_run_would_have_left(tmp_path: Path) -> None:
    found = run(copied_project(tmp_path), {}, "--tags", "recipe")
    assert found.returncode != 0
    assert "reads results that no earlier run has left here" in found.stderr
    assert "saliency360.encoders.contrastive.network" in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "data" / "02_intermediate").exists()


def test_folds_make_a_model_each_and_one_of_everything() -> None:
    names = {n.short_name for n in saliency360.create_pipeline(merged(folds=3)).nodes}
    for part in ("fold_1", "fold_2", "fold_3", "all"):
        assert f"fit_contrastive_{part}" in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 1}, r"folds = 1: expected 0 \(the given split\) or at least 2"),
        ({"image__height": 100}, r"image\.height = 100: expected a multiple of 16"),
        ({"image__width": 336}, r"image\.width = 336: expected 320, twice the height"),
        ({"deploy": "nothing"}, "deploy = 'nothing': expected one of contrastive, random"),
        ({"recipe": "centre_crops"}, "recipe"),
        ({"train__graphs": "on"}, r"train\.graphs"),
        ({"decoder_train__graphs": "on"}, r"decoder_train\.graphs"),
        (
            {"encoders__contrastive__recipe": "raw_bgr"},
            r"encoders\.contrastive\.recipe = 'raw_bgr': expected best, text, authors, or some of",
        ),
        (
            {"models__contrastive__recipe": "centre_crop"},
            r"models\.contrastive\.recipe = 'centre_crop'",
        ),
        ({"ablations": ["lambda"]}, "ablations = 'lambda': expected one of all, architecture"),
        ({"models": {"equator": {"encoder": "random"}}}, "models = 'equator'.*other than uniform"),
        ({"models": {"m": {"encoder": "nobody"}}}, r"models\.m\.encoder = 'nobody'"),
        ({"encoders__old": {"kind": "file"}}, r"encoders\.old\.file = None: expected a path"),
        ({"data__source": "photos"}, r"data\.source"),
        ({"train__gate_lr_factor": 2}, r"train\.gate_lr_factor = 2.*there are no gates"),
        ({"train__workers": 3}, r"train\.batch_size = 16: expected a multiple of workers"),
        ({"train__nodes": 2}, r"train\.rendezvous = None: expected \"host:port\" with nodes = 2"),
        (
            {"train__workers": 2, "train__graphs": "on"},
            r"train\.graphs = 'on': expected off or auto",
        ),
        (
            {"decoder_train__workers": 2},
            r"decoder_train\.workers = 2: expected 1: decoders are trained in one process; "
            r"train\.workers is that of the pre-training",
        ),
        ({"contrast__local_weigth": 0.5}, r"did you mean 'local_weight'"),
        ({"also_test_on": {"generated": {}}}, "also_test_on = 'generated'"),
    ],
)
def test_errors_name_key_value_and_remedy(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check(merged("", **changes))


def test_nothing_is_trained_before_all_maps_and_fixations_are_read() -> None:
    """An empty map or a direction off the sphere was found after hours of pre-training."""
    graph = saliency360.create_pipeline(merged(), ("architecture",))
    for node in graph.nodes:
        if node.short_name.startswith(("pretrain_", "fit_")):
            before = {n.short_name for n in graph.to_nodes(node.name).nodes}
            assert {"check_sources", "ground_truth_generated"} <= before


@pytest.mark.parametrize("height", [32, 48])
def test_a_vgg_needs_maps_that_can_be_halved(height: int) -> None:
    """It failed in its head, with "output size is too small"."""
    values = merged("", image__height=height, image__width=2 * height)
    assert saliency360.create_pipeline(values).nodes  # no VGG is asked for
    if height >= 48:
        assert saliency360.create_pipeline(values, ("architecture",)).nodes
        return
    with pytest.raises(ConfigError, match=r"image\.height = 32: expected at least 48.*vgg"):
        saliency360.create_pipeline(values, ("architecture",))


def test_the_report_says_all_that_differs_from_the_thesis() -> None:
    # Notes read the scenes of the data and the histories of the encoders alone.
    differs: list[str] = []
    scenes = SimpleNamespace(scenes=99, differs=differs)
    encoders: dict[str, Any] = {"random": SimpleNamespace(history=[], kind="random")}
    many: Any = SimpleNamespace(
        datasets={"generated": scenes, "salient360": scenes}, encoders=encoders, given=["unisal"]
    )

    def named(name: str) -> Any:
        return SimpleNamespace(datasets={name: scenes}, encoders=encoders, given=[])

    base = " ".join(notes(check(merged()), many))
    for text in (
        "0.25 times the thesis' channels",
        "epochs 20 (250)",
        "negatives 256 (16,000)",
        "largest learning rate 0.001 (0.01)",
        "optimiser adamw (sgd)",
        "last layer of the heads batch norm (relu)",
        "decoder light (thesis)",
        "turned panoramas yes (no)",
        "weighs pixels by solid angle",
    ):
        assert text in base
    assert "Maps of others, read from folders: unisal." in base
    many.given = []
    text_recipe = " ".join(notes(check(merged(recipe="text")), many))
    assert "Recipe text: heads, their ends, temperature, decoder" in text_recipe
    for replaced in ("solid angle", "errors of the authors", "last layer", "decoder light"):
        assert replaced not in text_recipe
    of_another_batch = "Pre-training, with the thesis' value behind: panoramas a batch 64 (80)."
    assert notes(check(merged("salient360")), many) == [of_another_batch]
    assert notes(
        check(merged("vr_eyetracking", contrast__negatives=8)), named("vr_eyetracking")
    ) == ["Pre-training, with the thesis' value behind: negatives 8 (16,000)."]
    differs += ["24 tested panoramas (25)", "2 folds of scenes (the named part)"]
    assert notes(check(merged("vr_eyetracking")), named("vr_eyetracking")) == [
        "Data and protocol of vr_eyetracking, with the thesis' behind: 24 tested panoramas (25); "
        "2 folds of scenes (the named part)."
    ]
    differs.clear()
    last = {"global_loss": 7.0}
    encoders["own"] = SimpleNamespace(
        history=[last], kind="contrastive", temperature=0.18, chance_loss=6.5
    )
    said = " ".join(notes(check(merged()), many))
    assert "a temperature of 0.180" in said
    assert "The pre-training of own does not tell panoramas apart: its global loss is 7.0" in said
    last["global_loss"] = 6.4
    assert "does not tell panoramas apart" not in " ".join(notes(check(merged()), many))


def test_switches_may_be_what_yaml_makes_of_them() -> None:
    read = yaml.safe_load("{compile: on, graphs: off}")
    assert read == {"compile": True, "graphs": False}
    p = check(merged(train__compile=read["compile"], train__graphs=read["graphs"]))
    assert (p.train.compile, p.train.graphs) == ("on", "off")
    with pytest.raises(ParameterError, match=r"decoder_train\.graphs = 'on'"):
        check(merged(decoder_train__graphs=True))


def test_recipes() -> None:
    assert check(merged(recipe="fixed")).recipe == check(merged()).recipe == ()
    authors = check(merged(recipe="authors"))
    assert len(authors.recipe) == 5
    assert authors.views_of("contrastive").authors_crop
    assert authors.decoding_of("contrastive").last_sample_only
    some = check(merged(recipe="raw_bgr;last_sample_loss"))
    assert not some.views_of("contrastive").authors_crop
    fixed = check(merged())
    made = {
        name: fixed.recipe_of(name) for name, m in fixed.models.items() if m.part == ("recipe",)
    }
    assert made.pop("authors") == QUIRKS
    assert made.pop("text") == (TEXT,)
    # One model a quirk, made with this one alone.
    assert made == {quirk: (quirk,) for quirk in QUIRKS}
    assert fixed.recipe_of("contrastive") == ()
    assert not fixed.decoding_of("centre_crop").last_sample_only


# --- whole runs


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copied_project(tmp_path_factory.mktemp(KEY))
    finished = run(made)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return made


def test_a_run_leaves_metrics_tables_pictures_and_report(done: Project) -> None:
    found = metrics(done)
    for model in ("contrastive", "random", "uniform", "equator", "mean", "ceiling"):
        for mode in ("sphere", "planar", "authors"):
            for metric in ("auc_judd", "sauc", "nss", "cc", "sim", "kld", "info_gain"):
                assert np.isfinite(found[f"generated.{model}.{mode}.{metric}"])
    assert found["generated.uniform.sphere.auc_judd"] == pytest.approx(0.5)
    assert found["generated.equator.sphere.info_gain"] == pytest.approx(0.0, abs=1e-12)
    assert found["generated.ceiling.sphere.cc"] > found["generated.uniform.sphere.cc"]
    for number in (1, 2, 3, 4):
        rows = list(csv.reader((results(done) / f"table_4_{number}.csv").open()))
        assert len(rows) > 1
    report = (results(done) / "report.html").read_text()
    assert "equator" in report
    for name in ("overlays.png", "scores.png", "training_curves.png", "run_manifest.json"):
        assert (results(done) / name).stat().st_size > 0


@pytest.mark.slow
def test_a_new_decoder_never_pre_trains_again(done: Project) -> None:
    checkpoint = (
        done.path / "data/06_models/saliency360.encoders.contrastive/checkpoint.safetensors"
    )
    weights = done.path / "data/06_models/saliency360/encoders/contrastive/weights.safetensors"
    before = (checkpoint.stat().st_mtime_ns, weights.stat().st_mtime_ns)
    scores = metrics(done)["generated.contrastive.sphere.cc"]
    finished = run(done, {"decoder_train.epochs": 4}, "--tags", "decode")
    assert finished.returncode == 0, finished.stderr
    assert (checkpoint.stat().st_mtime_ns, weights.stat().st_mtime_ns) == before
    assert metrics(done)["generated.contrastive.sphere.cc"] != scores


@pytest.mark.slow
def test_prediction_and_export_use_the_trained_model(done: Project, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)).save(
        tmp_path / "mine.png"
    )
    changes = {"predict.input": tmp_path / "mine.png", "predict.output": tmp_path / "out"}
    finished = run(done, changes, "--tags", "predict,export")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert np.load(tmp_path / "out" / "mine_map.npy").shape == (32, 64)
    assert (tmp_path / "out" / "mine_overlay.jpg").is_file()
    check_file = done.path / "data/06_models/saliency360/saliency_onnx.json"
    assert json.loads(check_file.read_text())["difference"] <= 1e-4
    missing = run(done, {"predict.input": tmp_path / "nothing.png"}, "--tags", "predict")
    assert missing.returncode != 0
    assert "nothing.png" in missing.stderr


@pytest.mark.slow
def test_folds_on_a_folder_of_ones_own(tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    rng = np.random.default_rng(0)
    for kind in ("images", "saliency"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for number in range(6):
        pixels = rng.integers(0, 256, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "mine/images" / f"{number}.png")
        Image.fromarray(pixels[..., 0]).save(tmp_path / "mine/saliency" / f"{number}.png")
    changes = {
        "data.source": "folder",
        "data.root": tmp_path / "mine",
        "dataset": "mine",
        "folds": 2,
        "decoder_train.batch_size": 2,
        "decoder.prior": "mean",
        "also_test_on.others.count_train": 0,
        "also_test_on.others.count_test": 3,
        "also_test_on.others.count_unlabelled": 0,
    }
    finished = run(project, changes)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = metrics(project)
    assert np.isfinite(found["mine.contrastive.sphere.cc"])
    assert np.isfinite(found["others.contrastive.sphere.nss"])
    # There are no fixations: nothing is said of them.
    assert "mine.contrastive.sphere.nss" not in found
    (tmp_path / "mine/saliency/3.png").unlink()
    finished = run(project, changes)
    assert finished.returncode != 0
    assert "3.png" in finished.stderr

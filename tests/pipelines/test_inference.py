"""The stage that times and exports gated encoders, node by node."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.neighbors import KNeighborsClassifier

from inference.networks import random_encoder
from pipelines.run_rows import evaluation
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.extras import NotInstalledError
from ssl_kedro.core.precision import processor_lacks
from ssl_kedro.encoders.base import Branch, Encoder, Encoding
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.encoders.pair import EncoderPair
from ssl_kedro.evaluation.accuracies import Accuracies
from ssl_kedro.evaluation.forms import Judgement
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, load_images
from ssl_kedro.inference.network import CompactEncoder, CompactNetwork
from ssl_kedro.inference.onnx_file import ExportError
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.dynamic_channels.parameters import DynamicChannelsParameters
from ssl_kedro.pipelines.gated.inference import networks
from ssl_kedro.pipelines.gated.inference.export import export
from ssl_kedro.pipelines.gated.inference.nodes import measure_inference, race_dense_engines
from ssl_kedro.pipelines.gated.inference.records import Form, Measurement, Measurements
from ssl_kedro.pipelines.gated.nodes import extract
from ssl_kedro.pipelines.gated.records import Evaluations, Training
from ssl_kedro.pipelines.gated.report.speed_numbers import inference_frame, inference_metrics
from ssl_kedro.pipelines.gated.report.speed_section import speed_sections, time_against_cost
from ssl_kedro.pipelines.gated.variants import DUAL_GATING, gated_names, label_of, title_of
from ssl_kedro.pipelines.parameters import ParameterError, parsed
from ssl_kedro.reporting.number_format import DASH

TIMING = {"batches": "1;4", "engines": "eager", "seconds": 0.01, "rounds": 1}
DATA = DataConfig(source="textures", size=16, generated=80, generated_eval=40)
TRAINED = Training("dual_gating", 0.5, 0)
MEASUREMENT = TypeAdapter(Measurement)
# What an export asks a measurement for is which networks hold in int8.
UNMEASURED = Measurement(0, 16, {}, {}, {})
HOLDS = Judgement("holds", {}, 1.0, 10)
LOSING = Form("gated", "int8", ("native",), Accuracies(), Judgement("loses", {}, 0.1, 10))


def given(probe: str = "cached", **inference: object) -> DualGatingParameters:
    values = {
        "data": {"source": "textures", "size": 16},
        "encoder": {"stem": "cifar", "width": 8},
        "probe": {"epochs": 2, "runs": 2, "features": probe},
        "train": {"device": "cpu"},
        "budgets": [0.5],
        "inference": {**TIMING, **inference},
    }
    return parsed(DualGatingParameters, "dual_gating", values)


@pytest.fixture(scope="module")
def images() -> tuple[ImageSet, ImageSet]:
    return load_images(DATA, "train", 0), load_images(DATA, "eval", 0)


def measured(
    encoder: Encoder, images: tuple[ImageSet, ImageSet], **inference: object
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    parameters = given(**inference)
    features = extract(parameters, encoder, *images)
    dense = race_dense_engines(parameters, images[1])
    found, _ = measure_inference(parameters, dense, encoder, features, *images, trained=TRAINED)
    return MEASUREMENT.dump_python(found, mode="json"), features


@pytest.fixture(scope="module")
def found(images: tuple[ImageSet, ImageSet]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return measured(random_encoder(), images)


def test_forced_gates_are_those_of_a_count_by_hand(
    found: tuple[dict[str, Any], dict[str, np.ndarray]], images: tuple[ImageSet, ImageSet]
) -> None:
    measurement, features = found
    encoder = random_encoder()
    seen, held_out = (
        [
            [mask[0].numpy() for mask in encoder(torch.from_numpy(image[None]), "gated").masks]
            for image in part.images
        ]
        for part in images
    )
    changed, opened, off = 0, 0, 0
    for masks in held_out:
        wrong = 0
        for block, mask in enumerate(masks):
            counts = np.sum([other[block] for other in seen], axis=0)
            opened += int(mask[counts == 0].sum())
            off += int((counts == 0).sum())
            wrong += int(mask[counts == 0].sum() + (1 - mask[counts == len(seen)]).sum())
        changed += wrong > 0
    assert changed > 0 and opened > 0
    assert measurement["forced"]["changed_images"] == changed / 40
    assert measurement["forced"]["opened_share"] == pytest.approx(opened / off)
    channels = measurement["channels"]
    assert channels["removed"] == off / 40
    assert sum(channels[n] for n in ("always_on", "dependent", "removed")) == channels["all"] == 240
    # What the features' node counted is what the encoder does.
    assert features["open.train.layer1.0"].tolist() == np.sum([m[0] for m in seen], 0).tolist()


def test_accuracies_and_costs_are_those_of_the_networks(
    found: tuple[dict[str, Any], dict[str, np.ndarray]], images: tuple[ImageSet, ImageSet]
) -> None:
    """By masks on the encoder itself, image by image, and another nearest-neighbour search."""
    measurement, features = found
    encoder = random_encoder()
    counts = [features[f"open.train.{name}"] for name, _ in encoder.residual_blocks()]
    cost, threshold = encoder.cost(), measurement["static"]["threshold"]
    static = [torch.from_numpy(c >= 80 * threshold).float()[None] for c in counts]
    gates = sum(block.gate for block in cost.blocks)
    assert measurement["macs"]["dense"] == cost.dense
    assert measurement["macs"]["static"] == float(cost.masked(static)) - gates
    # At the cost of the gated encoder on the training images, or a little below.
    share = features["macs.train"].mean() / cost.dense
    assert measurement["static"]["budget"] == pytest.approx(share)
    assert measurement["macs"]["static"] <= share * cost.dense
    with torch.no_grad():
        parts = [
            encoder(torch.from_numpy(part.images), "gated", masks=static).features.numpy()
            for part in images
        ]
    for name, (known, asked) in {
        "static": parts,
        "gated": (features["gated.train"], _forced_features(encoder, counts, images[1])),
    }.items():
        oracle = KNeighborsClassifier(1, algorithm="brute").fit(known, images[0].labels)
        score = oracle.score(asked, images[1].labels)
        assert measurement["accuracies"][name]["knn_top1"] == pytest.approx(score, abs=1e-9)
        assert len(measurement["accuracies"][name]["linear_top1"]) == 2


@torch.no_grad()
def _forced_features(
    encoder: GatedResNet18, counts: list[np.ndarray], images: ImageSet
) -> np.ndarray:
    """The encoder block by block, gates overruled where training images all agreed."""
    x = encoder.stem(encoder.laid_out(torch.from_numpy(images.images), encoder.stem[0]))
    for (_, block), count in zip(encoder.residual_blocks(), counts, strict=True):
        mask = (block.gate.logits(x) >= 0).float()
        mask[:, torch.from_numpy(count == 0)] = 0
        mask[:, torch.from_numpy(count == 80)] = 1
        x, _, _ = block(x, "gated", None, [mask])
    return x.mean(dim=(2, 3)).numpy()


def test_times_have_ratios_that_are_never_below_one(
    found: tuple[dict[str, Any], dict[str, np.ndarray]],
) -> None:
    measurement, _ = found
    metrics = inference_metrics(typed(dual=measurement))
    for batch in (1, 4):
        at = f"dual.budget_50.inference.batch_{batch}"
        assert metrics[f"{at}.ratio"] == max(1, metrics[f"{at}.gated_ratio"])
        assert metrics[f"{at}.fallback"] == float(metrics[f"{at}.gated_ratio"] <= 1)
        for name in ("gated", "static"):
            expected = metrics[f"{at}.dense_ms"] / metrics[f"{at}.{name}_ms"]
            assert metrics[f"{at}.{name}_ratio"] == pytest.approx(expected)
        rate = metrics[f"{at}.dense_images_per_second"]
        assert rate * metrics[f"{at}.dense_ms"] == pytest.approx(1000)


def typed(**measurements: dict[str, Any]) -> Measurements:
    """Measurements from plain values, by model."""
    return {f"{k}.budget_50": MEASUREMENT.validate_python(v) for k, v in measurements.items()}


def evaluations() -> Evaluations:
    branches: dict[Branch, Accuracies] = {
        "dense": Accuracies(0.5, linear_top1=(0.6, 0.8)),
        "gated": Accuracies(0.4, linear_top1=(0.5,)),
    }
    return {"dual.budget_50": dataclasses.replace(evaluation("dual_gating", 50), branches=branches)}


def test_table_and_section_tell_what_ran_and_what_could_not(
    found: tuple[dict[str, Any], dict[str, np.ndarray]],
) -> None:
    measurement = copy.deepcopy(found[0])
    models = evaluations()
    frame = inference_frame(models, typed(dual=measurement), baseline="vicreg")
    assert len(frame) == 6
    dense = frame[(frame["network"] == "dense") & (frame["batch"] == 4)].iloc[0]
    assert dense["linear_top1"] == pytest.approx(0.7)
    assert dense["cost_share"] == dense["measured_ratio"] == 1
    assert frame.groupby("batch")["runs"].sum().tolist() == [1, 1]
    race = measurement["batches"]["1"]["networks"]["gated"]["timings"]
    missing = {"name": "openvino", "engine": "openvino", "ms": None, "rounds": 0}
    race.append(missing | {"reason": "is <missing>"})
    (section,) = speed_sections(models, typed(dual=measurement), frame, None)
    text = " ".join(section.paragraphs)
    assert "Not available here: OpenVINO (is <missing>)" in text
    assert "Not asked for (inference.engines): native, onnxruntime, compiled" in text
    assert len(section.tables[0].rows) == 3
    assert speed_sections(models, {}, frame, None) == []


def test_a_probe_that_augments_takes_no_further_passes(
    found: tuple[dict[str, Any], dict[str, np.ndarray]],
    images: tuple[ImageSet, ImageSet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measurement, features = found
    seen: list[int] = []
    forward = CompactEncoder.forward

    def counted(self: CompactEncoder, batch: torch.Tensor, *rest: Any) -> Encoding:
        seen.append(len(batch))
        return forward(self, batch, *rest)

    monkeypatch.setattr(CompactEncoder, "forward", counted)
    parameters = given("augmented", batches="1")
    again = MEASUREMENT.dump_python(
        measure_inference(parameters, {}, random_encoder(), features, *images, trained=TRAINED)[0],
        mode="json",
    )
    assert sum(seen) == 40 + (80 + 40)  # gated: evaluation images; static: both parts
    assert again["accuracies"] == measurement["accuracies"]


def test_models_timed_at_different_batch_sizes_stand_in_one_report(
    found: tuple[dict[str, Any], dict[str, np.ndarray]],
) -> None:
    """One budget was timed again at other batch sizes than the rest."""
    first, other = found[0], copy.deepcopy(found[0])
    other["batches"]["64"] = other["batches"].pop("4")
    models = evaluations() | {"vicreg_gating.budget_50": evaluations()["dual.budget_50"]}
    for order in (1, -1):
        timed = typed(dual=first, vicreg_gating=other)
        inference = dict(list(timed.items())[::order])
        frame = inference_frame(models, inference, baseline="vicreg")
        (section,) = speed_sections(models, inference, frame, None)
        verdict = section.paragraphs[0]
        assert [verdict.count(f"batch {batch}") for batch in (1, 4, 64)] == [1, 1, 1]
        assert verdict.index("batch 4 (of 1 of 2 models)") < verdict.index("batch 64 (of 1 of 2")
        rows = section.tables[0].rows
        assert len(rows) == 6
        for row in rows:
            of_four, of_sixty_four = row[-8:-4], row[-4:]
            here, elsewhere = of_four, of_sixty_four
            if row[0] != label_of("dual.budget_50"):
                here, elsewhere = of_sixty_four, of_four
            assert elsewhere == [DASH] * 4 and DASH not in here[:3]
        axes = time_against_cost(frame).axes
        assert [axis.get_title(loc="left") for axis in axes][1:] == [
            "4 images at a time",
            "64 images at a time",
        ]
        legend = {text.get_text() for text in axes[0].figure.legends[0].get_texts()}
        assert {f"{title_of(name)}, gated" for name in ("dual", "vicreg_gating")} <= legend


@pytest.fixture(scope="module")
def beside_thin(
    found: tuple[dict[str, Any], dict[str, np.ndarray]], images: tuple[ImageSet, ImageSet]
) -> tuple[pd.DataFrame, Measurement]:
    """Times of a gated encoder and of a thin network, and what was measured of that."""
    config = EncoderConfig(stem="cifar", width=4)
    thin = GatedResNet18(config, branches=("dense",), image_size=16).eval()
    measurement = MEASUREMENT.validate_python(measured(thin, images, batches="1")[0])
    models = evaluations()
    for key, knn in (("vicreg", 0.9), ("thin.width_4", 0.1)):
        models[key] = dataclasses.replace(
            evaluation("vicreg", None), branches={"dense": Accuracies(knn)}
        )
    inference = typed(dual=found[0]) | {"thin.width_4": measurement}
    return inference_frame(models, inference, baseline="vicreg"), measurement


def test_what_is_timed_as_dense_beside_a_thin_network_is_the_baseline(
    beside_thin: tuple[pd.DataFrame, Measurement],
) -> None:
    frame, measurement = beside_thin
    knn = frame.set_index(["model", "network", "batch"])["knn_top1"]
    assert knn["thin.width_4", "dense", 1] == 0.9
    assert knn["thin.width_4", "static", 1] == measurement.forms[0].accuracies.knn_top1
    assert knn["dual.budget_50", "dense", 1] == 0.5  # its own dense branch


def test_time_against_cost_is_drawn_of_models_with_gates(
    beside_thin: tuple[pd.DataFrame, Measurement],
) -> None:
    frame, _ = beside_thin
    figure = time_against_cost(frame)
    points = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert points == ["50 %"] * 4  # gated and static, at two batch sizes
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {"dense network", "time falls as FLOPs do", "gated", "static"}
    alone = time_against_cost(frame[frame["model"] == "thin.width_4"])
    assert [len(axis.texts) for axis in alone.axes] == [0]


def test_an_encoder_whose_gates_see_no_image_has_one_network_beside_the_dense(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    blind = random_encoder(gate_input_dependent=False)
    measurement, features = measured(blind, images, batches="1")
    assert {form["network"] for form in measurement["forms"]} == {"dense", "gated"}
    assert measurement["macs"].keys() == {"dense", "gated"}
    kept = [torch.from_numpy(features[f"open.train.{n}"]) > 0 for n, _ in blind.residual_blocks()]
    macs = blind.cost().masked([mask.float()[None] for mask in kept])
    gates = sum(block.gate for block in blind.cost().blocks)
    assert measurement["macs"]["gated"] == float(macs) - gates
    frame = inference_frame(evaluations(), typed(dual=measurement), baseline="vicreg")
    (section,) = speed_sections(evaluations(), typed(dual=measurement), frame, None)
    assert "50 % has no static network: no gate depends on the image" in section.paragraphs[1]
    typed_one = MEASUREMENT.validate_python(measurement)
    report = export(given(), blind, features, typed_one, *images, tmp_path)
    assert report.files.keys() == {"compact", "dense", "dense_kernel", "gated"}
    assert report.static_share is None


def test_a_budget_that_cannot_be_met_leaves_the_static_network_out(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    encoder = random_encoder()
    for gate in encoder.gates():  # every channel is always on
        torch.nn.init.zeros_(gate.expand.weight)
    measurement, features = measured(encoder, images, static_budget=0.5)
    assert "always on cost 1.000" in measurement["static"]["reason"]
    assert measurement["macs"].keys() == {"dense", "gated"}
    frame = inference_frame(evaluations(), typed(dual=measurement), baseline="vicreg")
    assert set(frame["network"]) == {"dense", "gated"}
    with pytest.raises(ConfigError, match=r"static_budget = 0\.5: expected a share that this"):
        export(
            given(static_budget=0.5),
            encoder,
            features,
            MEASUREMENT.validate_python(measurement),
            *images,
            tmp_path / "export",
        )
    assert not (tmp_path / "export").exists()


def test_pairs_gated_only_and_dense_encoders_are_measured(
    images: tuple[ImageSet, ImageSet],
) -> None:
    config = EncoderConfig(stem="cifar", width=8)
    pair = EncoderPair(GatedResNet18(config, branches=("dense",), image_size=16), random_encoder())
    gated = GatedResNet18(config, branches=("gated",), image_size=16)
    for encoder in (pair, gated):
        measurement, _ = measured(encoder.eval(), images, batches="1")
        assert measurement["batches"]["1"]["ratio"] >= 1
        # A dense network that was not trained as such only stands for its time.
        assert {form["network"] for form in measurement["forms"]} == (
            {"gated", "static"} if encoder is gated else {"dense", "gated", "static"}
        )
    dense = GatedResNet18(config, branches=("dense",), image_size=16).eval()
    thin = GatedResNet18(config.narrowed(4), branches=("dense",), image_size=16).eval()
    whole, narrow = (measured(encoder, images, batches="1") for encoder in (dense, thin))
    for (measurement, features), name in ((whole, "dense"), (narrow, "static")):
        (form,) = measurement["forms"]
        assert (form["network"], form["precision"], form["judgement"]) == (name, "f32", None)
        assert measurement["macs"]["dense"] == dense.cost().dense
        assert measurement["forced"] is measurement["channels"] is None
        oracle = KNeighborsClassifier(1, algorithm="brute")
        oracle.fit(features["dense.train"], images[0].labels)
        score = oracle.score(features["dense.eval"], images[1].labels)
        assert form["accuracies"]["knn_top1"] == pytest.approx(score)
    assert narrow[0]["macs"]["static"] == thin.cost().dense < dense.cost().dense
    assert set(narrow[0]["batches"]["1"]["networks"]) == {"dense", "static"}


def test_export_is_checked_and_refuses_another_size(
    images: tuple[ImageSet, ImageSet], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    if lacking := processor_lacks("int8"):
        pytest.skip(lacking)
    encoder = random_encoder()
    features = extract(given(), encoder, *images)
    won = {"dense": ("native",), "static": ("openvino", "native")}
    forms = [Form(name, "int8", (e,), Accuracies(), HOLDS) for name, of in won.items() for e in of]
    forms.append(Form("dense", "f32", ("native", "openvino"), Accuracies()))
    held = dataclasses.replace(UNMEASURED, forms=(*forms, LOSING))
    report = export(given(), encoder, features, held, *images, tmp_path)
    for name, file in report.files.items():
        assert file.path.exists(), name
        assert file.difference < (0.1 * file.largest if "int8" in name else 1e-4) < file.largest
    # 16 evaluation images, three of noise and a grey one.
    assert {name: file.images for name, file in report.files.items()} == dict.fromkeys(
        [
            *("compact", "dense", "gated", "static"),
            # The kernel's int8 was judged for both, that of ONNX Runtime for one of them.
            *("dense_int8_kernel", "static_int8", "static_int8_kernel"),
            # Plain PyTorch reads these, whatever engine won.
            *("dense_kernel", "static_kernel"),
        ],
        20,
    )
    other = random_encoder(size=24)
    with pytest.raises(ConfigError, match=r"data\.size = 16: expected 24, the image size"):
        export(given(), other, features, UNMEASURED, *images, tmp_path)


def test_a_compact_network_that_differs_is_not_written(
    images: tuple[ImageSet, ImageSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    encoder = random_encoder()
    features = extract(given(), encoder, *images)
    older = tmp_path / "compact" / "older"
    older.parent.mkdir()
    older.touch()
    compact = networks.compact

    def shifted(*given: Any) -> CompactNetwork:
        network = compact(*given)
        conv = network.compact_blocks()[-1].conv2
        assert conv is not None and conv.bias is not None
        conv.bias += 0.01
        return network

    monkeypatch.setattr(networks, "compact", shifted)
    with pytest.raises(ExportError, match=r"compact: the file differs .* expected at most 0\.0001"):
        export(given(), encoder, features, UNMEASURED, *images, tmp_path)
    assert list(tmp_path.rglob("*")) == [older.parent, older]


def test_only_a_budget_that_cannot_be_met_leaves_the_static_network_out(
    images: tuple[ImageSet, ImageSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*given: Any) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(networks, "static_network", faulty)
    with pytest.raises(ValueError, match="broadcast"):
        measured(random_encoder(), images)


def test_the_dense_race_leaves_the_global_generator_alone(
    images: tuple[ImageSet, ImageSet],
) -> None:
    before = torch.random.get_rng_state()
    race_dense_engines(given(batches="1"), images[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_export_needs_its_packages_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    for pipeline in (dual_gating, dynamic_channels):
        assert pipeline.create_pipeline({}).nodes
        with pytest.raises(NotInstalledError) as error:
            pipeline.create_pipeline({}, ["export"])
        message = mendable_message(error.value)
        assert message is not None and "pip install 'ssl_kedro[export]'" in message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"models": "duel"}, "inference.models = ['duel']: expected \"all\""),
        ({"engines": "tensorrt"}, "inference.engines.0 = 'tensorrt': input should be 'native'"),
        ({"static_budget": 0.01}, "inference.static_budget = 0.01: expected more than 0.0"),
        ({"batches": "0"}, "inference.batches.0"),
        ({"precisions": "int8"}, "inference.precisions = ['int8']: expected f32 among them"),
        ({"held_out": 1}, "inference.held_out"),
        ({"second": 1}, "did you mean 'seconds'?"),
    ],
)
def test_impossible_parameters_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ParameterError) as error:
        parsed(DualGatingParameters, "dual_gating", {"inference": values})
    assert words in str(error.value)


def test_engines_none_of_which_is_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name)
    )
    values = {"inference": {"engines": "openvino"}}
    with pytest.raises(ParameterError, match="openvino is not installed"):
        parsed(DynamicChannelsParameters, "dynamic_channels", values)
    # Nothing is timed, so nothing is missing; and one that works is enough.
    for more in ({"models": ""}, {"engines": "openvino;eager"}):
        parsed(
            DynamicChannelsParameters, "dynamic_channels", {"inference": values["inference"] | more}
        )


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_named_is_nothing_timed(nothing: object) -> None:
    assert given(models=nothing).inference.models == ()


def test_models_that_can_be_timed_are_the_gated_ones_of_the_plan() -> None:
    gated = {name for name, v in DUAL_GATING.items() if v.gated and not v.student}
    assert set(gated_names(DualGatingParameters.variants)) == gated


def test_graph_times_what_is_asked_for_and_exports_by_tag() -> None:
    def nodes(*tags: str, **inference: object) -> set[str]:
        graph = dual_gating.create_pipeline({"budgets": [0.3], "inference": inference}, tags)
        return {node.name for node in (graph.filter(tags=list(tags)) if tags else graph).nodes}

    assert not any("inference" in name for name in nodes(models=""))
    both = nodes(models="all")
    assert sum("measure_inference" in name for name in both) == 3  # the baseline among them
    assert not any("export" in name for name in both)
    exported = nodes("export", models="dual")
    short = {name.rsplit(".", 1)[-1] for name in exported}
    written = {"export_vicreg", "export_dual_budget_30", "exports", "deployed_files", "hub"}
    assert short == {*written, "metrics", "report", "data_pictures"}
    # With the peers, of what their run has left.
    of_peers = {name.rsplit(".", 1)[-1] for name in nodes("frontier", "export", models="dual")}
    assert of_peers > short and "export_thin_width_36" in of_peers
    known = {*short, "kept_channels"}
    assert all("export" in name or name in known for name in of_peers)
    again = {name.rsplit(".", 1)[-1] for name in nodes("inference", models="dual")}
    assert not any(name.startswith(("pretrain", "extract", "evaluate")) for name in again)
    assert {"measure_inference_dual_budget_30", "metrics", "report"} <= again

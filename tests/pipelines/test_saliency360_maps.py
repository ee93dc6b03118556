"""Anybody's saliency maps as a model of a run, and the recipe of the text."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import TINY_SALIENCY, Project
from pipelines.test_saliency360 import KEY, check, merged, metrics, results
from ssl_kedro.core.config import ConfigError
from ssl_kedro.datasets.handles import PanoramaStoreDataset
from ssl_kedro.datasets.sources import MapFolderDataset
from ssl_kedro.pipelines import saliency360
from ssl_kedro.pipelines.parameters import ParameterError
from ssl_kedro.pipelines.saliency360 import scoring
from ssl_kedro.pipelines.saliency360.plans import QUIRKS, TEXT
from ssl_kedro.saliency.given_maps import MapFolder
from ssl_kedro.saliency.ground_truth import truth_arrays
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.generated import GeneratedPanoramas

TESTED = 6


def others(folder: Path | str | dict[str, str] = "maps", **plan: Any) -> dict[str, Any]:
    values = merged()
    values["models"]["theirs"] = {"kind": "maps", "folder": folder, **plan}
    return values


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"folder": None}, r"theirs\.folder = None: expected a folder of maps"),
        ({"folder": "s3://b/maps"}, r"theirs\.folder = 's3://b/maps': expected a folder of this"),
        ({"folder": {"sitzmann": "m"}}, r"theirs\.folder = 'sitzmann': expected one of generated"),
        ({"encoder": "random"}, r"theirs\.encoder = 'random': expected none with kind \"maps\""),
        ({"fine_tune": True}, r"theirs\.fine_tune"),
        ({"kind": "trained", "encoder": "random"}, r"theirs\.folder = 'maps': expected none"),
        ({"kind": "trained", "folder": None}, r"theirs\.encoder = '': expected one of"),
        ({"kind": "map"}, r"theirs\.kind"),
    ],
)
def test_what_is_no_folder_of_maps_is_refused_by_its_key(
    plan: dict[str, object], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        check(others(**plan))  # type: ignore[arg-type]


def test_maps_cannot_be_deployed() -> None:
    with pytest.raises(ParameterError, match=r"deploy = 'theirs': expected one of contrastive"):
        check(others() | {"deploy": "theirs"})


def test_a_missing_folder_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"models\.theirs\.folder = 'maps': .*exists"):
        check(others()).check_missing(f"{KEY}.models.theirs.generated.map_folder")
    entry = MapFolderDataset(
        model="theirs", name="generated", own="generated", models={"theirs": {"folder": "gone"}}
    )
    assert not entry.exists()
    assert entry.look() is None


def test_each_data_set_may_have_a_folder_of_its_own() -> None:
    values = others({"more": "of_more"})
    values["also_test_on"] = {"more": {"source": "generated"}}
    names = {node.short_name for node in saliency360.create_pipeline(values).nodes}
    assert {"read_theirs_more", "score_theirs_more"} <= names
    assert "read_theirs_generated" not in names
    models = values["models"]
    found = [
        MapFolderDataset(model="theirs", name=name, own="generated", models=models)._describe()
        for name in ("more", "generated")
    ]
    assert found == [{"filepath": "of_more"}, {"filepath": None}]


class Panoramas:
    """Generated panoramas with their gaze, and what scores a folder of maps on them."""

    def __init__(self, folder: Path) -> None:
        self.p = check(others(str(folder / "maps"), part="main"))
        self.source = GeneratedPanoramas(SourceConfig(count_train=4, count_test=TESTED))
        store = PanoramaStoreDataset(filepath=str(folder / "store")).load()
        rows = list(range(4 + TESTED))
        self.stored = store.fill(self.source, rows, (32, 64), label="generated")
        self.truth = truth_arrays(self.source, rows, "auto", 160, 3.34)
        self.tested = [row for row in rows if self.source.splits[row] == "test"]
        self.folder = folder / "maps"
        self.folder.mkdir()

    def scored(self, maps: list[np.ndarray]) -> dict[str, list[float | None]]:
        for row, values in zip(self.tested, maps, strict=True):
            np.save(self.folder / f"{self.source.names[row]}.npy", values)
        priors = scoring.learn_priors(self.p, self.stored, self.truth)
        given = MapFolder(self.folder)
        predictions = scoring.read_maps(
            self.p, self.stored, self.source, given, model="theirs", own=True
        )
        found = scoring.score_model(self.p, self.stored, self.truth, priors, predictions, own=True)
        return found.scores["sphere"]


def test_true_maps_score_as_the_truth_and_shuffled_ones_near_chance(tmp_path: Path) -> None:
    data = Panoramas(tmp_path)
    true = [data.truth["maps"][row] for row in data.tested]
    right = data.scored(true)
    np.testing.assert_allclose(right["cc"], 1, atol=1e-5)  # type: ignore[arg-type]
    np.testing.assert_allclose(right["kld"], 0, atol=1e-4)  # type: ignore[arg-type]
    # Another scale and size changes nothing that a metric could see.
    coarse = data.scored([7 * values.reshape(80, 2, 160, 2).mean((1, 3)) for values in true])
    assert np.mean(coarse["cc"]) > 0.95  # type: ignore[arg-type]
    # Generated gaze keeps to objects that stand anywhere: maps of others know nothing.
    moved = data.scored([np.roll(one, 160, axis=1) for one in true[1:] + true[:1]])
    assert np.mean(moved["cc"]) < 0.3  # type: ignore[arg-type]


def test_maps_are_looked_at_before_the_run(tmp_path: Path) -> None:
    data = Panoramas(tmp_path)
    np.save(data.folder / "someone.npy", np.ones((8, 16)))
    seen = {"source": data.source, "folder": MapFolder(data.folder)}
    constants = {"model": "theirs", "own": True}
    with pytest.raises(SaliencyDataError, match=r"no map of test_.*maps of no panorama: someone"):
        data.p.check_seen("read_maps", constants, seen)


def test_the_recipe_of_the_text_replaces_what_stands_in_its_section() -> None:
    p = check(merged(recipe="text"))
    assert p.recipe == (TEXT,)
    contrast = p.contrast_of("contrastive")
    assert (contrast.heads, contrast.head_end, contrast.temperature) == ("text", "relu", 0.07)
    assert contrast.negatives == p.contrast.negatives
    decoder = p.decoder_config("contrastive")
    assert (decoder.kind, decoder.width) == ("thesis", p.decoder.width)
    assert p.decoding_of("contrastive").weighting == "planar"
    assert p.encoder_config("contrastive").longitude_padding == "zeros"
    # What a plan says of itself wins.
    assert p.decoder_config("salgan_decoder").kind == "salgan"
    assert p.contrast_of("vgg_lambda_50").local_weight == 0.5
    best = check(merged())
    assert best.contrast_of("contrastive") == best.contrast
    assert best.contrast_of("text") == contrast
    assert best.decoder_config("text") == decoder
    assert best.recipe_of("text") == (TEXT,)
    assert check(merged(recipe="text;raw_bgr")).recipe_of("contrastive") == (TEXT, "raw_bgr")


def test_words_of_earlier_versions_stay() -> None:
    assert check(merged(recipe="fixed")).recipe == check(merged(recipe="best")).recipe == ()
    assert check(merged(recipe="authors")).recipe == QUIRKS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast": {"head": "text"}}, r"recipes\.text\.contrast\.head = 'text'"),
        ({"contrast": {"temperature": -1}}, r"recipes\.text\.contrast\.temperature = -1"),
        ({"decoder": {"kind": "big"}}, r"recipes\.text\.decoder\.kind = 'big'"),
        ({"train": {"epochs": 250}}, r"recipes\.text\.train: there is no such key"),
    ],
)
def test_a_recipe_is_checked_whether_it_is_chosen_or_not(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        check(merged(recipes={"text": changes}))


def test_a_whole_run_with_maps_of_others_and_the_printed_recipe(project: Project) -> None:
    source = GeneratedPanoramas(SourceConfig(count_train=6, count_test=4, count_unlabelled=4))
    folder = project.path / "maps"
    folder.mkdir()
    for index, (name, split) in enumerate(zip(source.names, source.splits, strict=True)):
        found = source.saliency(index)
        if split == "test" and found is not None:
            np.save(folder / f"{name}.npy", found)
    changes = {
        "models.theirs.kind": "maps",
        "models.theirs.folder": "maps",
        "models.text.part": "main",
    }
    values = ",".join(f"{KEY}.{k}={v}" for k, v in {**TINY_SALIENCY, **changes}.items())
    done = project.kedro("run", "--pipeline", KEY, "--params", values)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = metrics(project)
    assert scores["generated.theirs.sphere.cc"] > 0.95
    assert scores["generated.theirs.sphere.cc"] > scores["generated.contrastive.sphere.cc"]
    rows = list(csv.DictReader((results(project) / "table_4_1.csv").open()))
    own = {row["model"]: row for row in rows if row["mode"] == "sphere"}
    assert (own["theirs"]["decoder"], own["theirs"]["setting"]) == ("maps of others", "")
    assert own["theirs"]["cc_low"]
    found = json.loads((results(project) / "results.json").read_text())
    assert found["given"] == ["theirs"]
    assert found["models"]["text"]["recipe"] == ["text"]
    differences = json.loads((results(project) / "differences.json").read_text())
    assert {one["about"] for one in differences} >= {"other", "text", "baseline"}
    report = (results(project) / "report.html").read_text()
    assert "contrastive less the maps of theirs" in report
    assert "What the printed recipe changes" in report
    assert "Maps of others, read from folders: theirs." in report

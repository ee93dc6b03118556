"""``--tags embed`` and ``--tags find``: graph, refusals, and what runs leave."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import Project
from oracles.norms import with_used_norms
from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.names import Names
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.pipelines import dual_gating, dynamic_channels
from ssl_kedro.pipelines.dual_gating.parameters import DualGatingParameters
from ssl_kedro.pipelines.gated.embedding import find_similar
from ssl_kedro.pipelines.gated.report.gallery import found_gallery
from ssl_kedro.retrieval.embeddings import Embeddings, FeatureNetwork

BOTH = pytest.mark.parametrize("pipeline", [dual_gating, dynamic_channels])
ASKED = {"embed": {"input": "images"}, "find": {"query": "a.png"}}


@BOTH
def test_the_graph_holds_what_is_asked_for_and_else_none_of_it(pipeline: ModuleType) -> None:
    name = pipeline.PIPELINE.name
    put = {f"{name}.{one}" for one in ("embeddings", "embedding_record", "embedding_index")}
    found = {f"{name}.found", f"{name}.found_gallery"}
    for tags, outputs in ((("embed",), put), (("find",), found), (("embed", "find"), put | found)):
        made = pipeline.create_pipeline(ASKED, tags)
        assert made.all_outputs() == outputs
        assert made.filter(tags=[*tags]).all_outputs() == outputs
        assert f"{name}.encoder_to_use" in made.inputs()
    assert not pipeline.create_pipeline(ASKED).all_outputs() & (put | found)
    values = ASKED | {"embed": {"input": "images", "encoder": f"{name}.x.encoder"}}
    assert f"{name}.x.encoder" in pipeline.create_pipeline(values, ("embed",)).inputs()


@BOTH
def test_what_is_missing_is_named(pipeline: ModuleType) -> None:
    name = pipeline.PIPELINE.name
    with pytest.raises(ConfigError, match=rf"{name}\.embed\.input = None: expected a folder"):
        pipeline.create_pipeline({}, ("embed",))
    with pytest.raises(ConfigError, match=rf"{name}\.find\.query = None: expected a picture"):
        pipeline.create_pipeline({}, ("find",))
    with pytest.raises(ConfigError, match=r"'embed,export': expected embed without other tags"):
        pipeline.create_pipeline(ASKED, ("embed", "export"))


def made() -> GatedResNet18:
    torch.manual_seed(0)
    return with_used_norms(GatedResNet18(EncoderConfig("cifar_pad1", 4), image_size=16)).eval()


def photographs(folder: Path, count: int = 30) -> None:
    generator = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:02d}.png")


def run(project: Project, name: str, tags: str, **values: object) -> str:
    """What a run says; it has to end well unless it says "Error:"."""
    given = ",".join(f"{name}.{key.replace('__', '.')}={value}" for key, value in values.items())
    done = project.kedro("run", "--pipeline", name, "--tags", tags, "--params", given)
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) != ("Error:" in said), said
    return said


@pytest.mark.slow
@BOTH
def test_a_folder_is_embedded_and_searched(pipeline: ModuleType, project: Project) -> None:
    name, room = pipeline.PIPELINE.name, project.path / "data"
    images = project.path / "images"
    photographs(images)
    said = run(project, name, "embed", embed__input=images)
    assert "Error: " in said and f"{name}.embed.encoder: found" in said
    assert f"train one first: kedro run --pipeline {name}" in said
    encoder = made()
    save_encoder(encoder, room / f"06_models/{name}.budget_50/encoder")
    said = run(project, name, "find", find__query=images / "0/00.png")
    assert "--tags find: found no index here" in said and "run --tags embed first" in said
    (images / "broken.jpg").write_bytes(b"none")
    said = run(project, name, "embed", embed__input=images, embed__max_skipped=0.5)
    assert "The shorter sides of the images are 20 px" in said and "broken.jpg" in said
    table = pd.read_parquet(room / f"07_model_output/{name}/embeddings.parquet")
    own = encoder.dense([images / path for path in table["path"]]).numpy()
    np.testing.assert_allclose(np.stack(table["vector"].to_list()), own, rtol=1e-4, atol=1e-5)
    record = json.loads((room / f"08_reporting/{name}/embeddings.json").read_text())
    assert [path for path, _ in record["skipped"]] == ["broken.jpg"] and record["images"] == 30

    (images / "1/01.png").unlink()
    said = run(project, name, "find", find__query=images / "0", find__count=29)
    found = pd.read_csv(room / f"08_reporting/{name}/found.csv")
    first = found[found["rank"] == 1]
    assert ("0/" + first["query"] == first["path"]).all() and len(first) == 15
    assert first["similarity"].to_numpy() == pytest.approx(np.ones(15), abs=1e-6)
    assert set(found["rank"]) == set(range(1, 30))
    page = (room / f"08_reporting/{name}/found.html").read_text()
    assert page.count("data:image/png;base64,") > 400 and "the file is gone" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)

    (project.path / "notes.txt").write_text("no picture")
    said = run(project, name, "find", find__query=project.path / "notes.txt")
    assert f"{name}.find.query: found no picture that can be read: notes.txt" in said
    said = run(project, name, "find", find__query=images / "0/00.png", embed__branch="gated")
    assert "expected what made the index" in said and f"{name}.embed.branch=dense" in said


def test_an_index_that_does_not_belong_is_refused() -> None:
    parameters = DualGatingParameters.model_validate({"train": {"device": "cpu"}})

    class Index:
        ntotal = 3

    files = SquareFiles(Path(), Names.of(["a.png"]))
    own = {"fingerprint": "other", "encoder": "x/encoder", "part": "budget 0.3", "budget": "0.3"}
    held = Embeddings(Names.of(["a"]), np.ones((1, 32), np.float32), own)
    with pytest.raises(InputError, match=r"add --params p\.embed\.encoder=x/encoder,p\.embed\.bud"):
        find_similar(parameters, made(), files, held, Index(), pipeline="p", name="n")
    held.facts["fingerprint"] = FeatureNetwork.of(made()).fingerprint
    with pytest.raises(InputError, match="found an index of 3 images and 1 vectors"):
        find_similar(parameters, made(), files, held, Index(), pipeline="p", name="n")


def test_a_page_of_many_pictures_stays_small(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "a.png")
    facts = {"folder": str(tmp_path), "encoder": "e", "part": "dense", "image_size": "8"}
    held = Embeddings(Names.of(["a.png"]), np.ones((1, 4), np.float32), facts)
    rows = [(f"{q}.png", rank, "a.png", 0.5) for q in range(40) for rank in range(1, 101)]
    found = pd.DataFrame(rows, columns=["query", "rank", "path", "similarity"])
    page = found_gallery(found, held, SquareFiles(tmp_path, Names.of(["a.png"])))
    assert page.count("<li") <= 1000 and "The first 9 are shown" in page
    assert "One picture was looked for" in found_gallery(
        found[found["query"] == "0.png"], held, SquareFiles(tmp_path, Names.of(["a.png"]))
    )

"""The retrieval_eval pipeline: parameters, graph, and whole runs on tiny parameters."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from conftest import Project, copied_project
from ssl_kedro.encoders.bundle import save_encoder
from ssl_kedro.encoders.gated_resnet import EncoderConfig, GatedResNet18
from ssl_kedro.pipelines import retrieval_eval
from ssl_kedro.pipelines.parameters import ParameterError, parsed
from ssl_kedro.pipelines.retrieval_eval.parameters import RetrievalEvalParameters

KEY = "retrieval_eval"
ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SHARED = ROOT.parent / "shared"
FACADES = {"instances": 5, "views": 5, "distractors": 12, "size": 48}
TINY = {
    **{
        f"datasets.{name}.facades.{key}": value
        for name in ("facades", "other_facades")
        for key, value in FACADES.items()
    },
    "encoders.random.width": 4,
    "encoders.pixels.side": 8,
    "image.size": 48,
    "whitening.dimensions": 16,
    "whitening.sweep": "4;16;64",
}


def run(
    project: Project, changes: Mapping[str, object] | None = None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    values = {**TINY, **(changes or {})}
    parameters = ",".join(f"{KEY}.{key}={value}" for key, value in values.items())
    return project.kedro("run", "--pipeline", KEY, "--params", parameters, *arguments)


def results(project: Project, room: str = "data") -> Path:
    return project.path / room / "08_reporting" / KEY


def metrics(project: Project, room: str = "data") -> dict[str, float]:
    return json.loads((results(project, room) / "metrics.json").read_text())  # type: ignore[no-any-return]


def merged(environment: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("base", environment):
        path = CONF / name / f"parameters_{KEY}.yml"
        if name and path.exists():
            _merge(found, yaml.safe_load(path.read_text())[KEY])
    return found


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def check(values: dict[str, Any]) -> RetrievalEvalParameters:
    return parsed(RetrievalEvalParameters, KEY, values)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = copied_project(tmp_path_factory.mktemp(KEY))
    torch.manual_seed(0)
    encoder = GatedResNet18(EncoderConfig(stem="cifar_pad1", width=4))
    save_encoder(encoder, made.path / "data/06_models/dual_gating.budget_30/encoder")
    finished = run(made)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return made


# --- parameters and graph


@pytest.mark.parametrize("environment", ["", "oxford_paris", "instre", "holidays", "folder"])
def test_every_environment_is_valid(environment: str) -> None:
    parameters = check(merged(environment))
    assert parameters.tasks
    names = {node.name for node in retrieval_eval.create_pipeline(merged(environment)).nodes}
    assert "retrieval_eval.check_data" in names


def test_the_thesis_settings_of_oxford_and_paris() -> None:
    p = check(merged("oxford_paris"))
    assert p.tasks == ("oxford5k", "paris6k", "roxford5k", "rparis6k")
    assert (p.image.size, p.whitening.dimensions, p.pooling.kind, p.pooling.levels) == (
        724,
        512,
        "rmac",
        3,
    )
    assert (p.reranking.aqe, p.reranking.dba, p.reranking.dba_aqe) == (10, 20, 1)
    assert p.whitening.sweep == (32, 64, 128, 256, 512, 1024, 2048)
    assert set(p.present_ensembles) == {
        "simclr_2x_simclr_4x",
        "simclr_2x_amdim",
        "simclr_2x_moco_v2",
        "simclr_4x_moco_v2",
        "simclr_4x_amdim",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate": ["oxfrod5k"]}, "evaluate = 'oxfrod5k'"),
        ({"use": ["dual"]}, "use = 'dual': expected one of pixels"),
        ({"whitening": {"learn_on": ["elsewhere"]}}, "whitening.learn_on = 'elsewhere'"),
        ({"ensembles": {"two": ["pixels"]}}, "two or more of the encoders"),
        ({"encoders": {"a.b": {"kind": "random"}}}, "letters, digits and underscores"),
        ({"encoders": {"x": {"kind": "moco"}}}, "moco_v1, moco_v2"),
        ({"encoders": {"x": {"kind": "moco_v1"}}}, "file = None: expected a path"),
        ({"descriptors": {"database": "nowhere.npy"}}, "descriptors.queries = None"),
        ({"pooling": {"kind": "vlad"}}, "pooling.kind"),
        ({"encoders": {"random": {"pooling": "own"}}}, 'another than "own" with kind random'),
        ({"encoders": {"random": {"whitening": "itself"}}}, "encoders.random.whitening"),
        ({"imagesize": 3}, "there is no such key"),
        ({"search": {"index": "IFV3"}}, "search.index = 'IFV3': expected \"exact\" or a faiss"),
    ],
)
def test_impossible_parameters_name_key_and_remedy(changes: dict[str, Any], message: str) -> None:
    values = merged()
    _merge(values, changes)
    with pytest.raises(ParameterError, match=message):
        check(values)


def test_each_encoder_and_task_is_a_namespace() -> None:
    values = merged() | {"evaluate": ["facades", "other_facades"]}
    pipeline = retrieval_eval.create_pipeline(values)
    spaces = {node.namespace for node in pipeline.nodes if node.namespace}
    assert f"{KEY}.facades.pixels" in spaces
    assert f"{KEY}.other_facades.random" in spaces
    # images to search are extracted once, also where another task is whitened on them
    names = [node.name for node in pipeline.nodes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["own", "tags", "task", "parameters", "extraction"])
def test_a_data_set_may_be_called_like_an_argument(name: str) -> None:
    values = merged() | {"evaluate": [name]}
    values["datasets"] = values["datasets"] | {name: values["datasets"]["facades"]}
    values["whitening"] = values["whitening"] | {"learn_on": ["itself", "other_facades"]}
    nodes = {node.name: node for node in retrieval_eval.create_pipeline(values).nodes}
    swept = nodes[f"{KEY}.{name}.pixels.sweep_pixels_{name}"]
    assert f"{KEY}.{name}.pixels.whitening" in swept.inputs
    assert {f"{KEY}.{name}.task", "params:retrieval_eval"} <= {
        *nodes[f"{KEY}.check_data"].inputs,
    }


def test_an_encoder_may_have_its_publishers_whitening_or_none() -> None:
    values = merged() | {"evaluate": ["facades"]}
    published = {"kind": "gem_ap", "file": "gem.pt", "pooling": "own", "whitening": "own"}
    plain = values["encoders"]["random"] | {"whitening": "none", "pooling": "gem"}
    values["encoders"] = values["encoders"] | {"gem": published, "random": plain}
    values["ensembles"] = {"both": ["pixels", "gem"]}
    nodes = {
        node.name.split(".")[-1]: node for node in retrieval_eval.create_pipeline(values).nodes
    }
    space = f"{KEY}.facades"
    assert f"{space}.gem.whitening" in nodes["describe_database_gem_facades"].inputs
    assert nodes["publish_whitening_gem_facades"].outputs == [f"{space}.gem.whitening"]
    assert f"{KEY}.gem.network" in nodes["publish_whitening_gem_facades"].inputs
    assert not any("whitening" in name for name in nodes["describe_database_random_facades"].inputs)
    learnt = [name for name in nodes if name.startswith("learn_whitening")]
    assert not [name for name in learnt if "gem" in name or "random" in name]
    # an ensemble's PCA is learnt on descriptors of the other set, whitened as its members are
    other = f"{KEY}.other_facades.gem"
    assert nodes["describe_database_gem_other_facades"].outputs == [f"{other}.descriptors"]
    assert nodes["publish_whitening_gem_other_facades"].outputs == [f"{other}.whitening"]
    p = check(values)
    assert p.whitened_on("facades", "gem") == "own"
    assert p.whitened_on("facades", "both") == "other_facades + own"
    assert (p.pooled_by("random"), p.pooled_by("both")) == ("gem", "rmac + own")


def test_an_index_is_a_node_only_where_search_is_not_exact() -> None:
    def nodes(index: str) -> set[str]:
        found = retrieval_eval.create_pipeline(merged() | {"search": {"index": index}})
        return {n.name for n in found.nodes if n.name.split(".")[-1].startswith("index_")}

    assert not nodes("exact")
    assert nodes("HNSW32")


# --- a whole run


def test_a_run_leaves_metrics_tables_galleries_and_report(done: Project) -> None:
    found = metrics(done)
    for encoder in ("pixels", "random", "dual_dense", "dual_gated", "random_and_dual"):
        for ranking in ("g", "aqe", "dba", "dba_aqe", "alpha_qe"):
            for level in ("easy", "medium", "hard"):
                for name in ("map", "mp5", "mp10"):
                    assert 0 <= found[f"facades.{encoder}.{ranking}.{level}.{name}"] <= 1
        assert (results(done) / "facades" / f"gallery_{encoder}.png").stat().st_size > 5000
    assert found["facades.pixels.whitened_on.other_facades.medium.map"] == pytest.approx(
        found["facades.pixels.g.medium.map"]
    )
    assert found["facades.random.dimensions.16.hard.map"] == pytest.approx(
        found["facades.random.g.hard.map"]
    )
    assert 0 < found["facades.chance.medium.map"] < 0.4
    with (results(done) / "table_3_2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["whitened_on"] for row in rows} == {"other_facades"}
    assert {row["cropped"] for row in rows} == {"True"}
    report = (results(done) / "report.html").read_text()
    assert "Table 3.2: facades, medium" in report
    assert 'src="http' not in report
    assert "<script src" not in report


def test_descriptors_are_unit_rows_that_other_tools_can_map(done: Project) -> None:
    folder = done.path / "data/05_model_input/retrieval_eval/facades/random"
    found = np.load(folder / "descriptors.npy", mmap_mode="r")
    assert found.shape == (37, 16)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    queries = np.load(folder / "query_descriptors.npy")
    product = queries.astype(float) @ found.T.astype(float)
    expected = np.argsort(-product, axis=1, kind="stable")[:, 0]
    from safetensors.numpy import load_file  # noqa: PLC0415

    rankings = load_file(
        done.path / "data/07_model_output/retrieval_eval/facades/random/rankings.safetensors"
    )
    assert np.array_equal(rankings["g"][0], expected)


@pytest.mark.slow
def test_another_dimension_does_not_extract_again(done: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(done.path, project.path)
    vectors = project.path / "data/04_feature/retrieval_eval/facades/random/database/vectors.npy"
    before = vectors.stat().st_mtime_ns
    finished = run(project, {"whitening.dimensions": 8}, "--tags", "evaluate")
    assert finished.returncode == 0, finished.stderr
    assert (
        metrics(project)["facades.random.g.medium.map"]
        != metrics(done)["facades.random.g.medium.map"]
    )
    assert vectors.stat().st_mtime_ns == before
    # the whole pipeline finds its vectors as well
    assert run(project, {"whitening.dimensions": 8}).returncode == 0
    assert vectors.stat().st_mtime_ns == before


def test_only_what_is_missing_is_made(done: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(done.path, project.path)
    (results(project) / "metrics.json").unlink()
    finished = run(project, None, "--only-missing-outputs")
    assert finished.returncode == 0, finished.stderr
    assert metrics(project) == metrics(done)
    assert finished.stdout.count("Completed node") == 1


def test_search_by_an_index(done: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "copy")
    shutil.copytree(done.path, project.path)
    changes = {"search.index": "HNSW8", "search.depth": 37, "use": "random;pixels"}
    finished = run(project, changes)
    assert finished.returncode == 0, finished.stderr
    assert (project.path / "data/06_models/retrieval_eval/facades/random/index.faiss").is_file()
    for encoder in ("random", "pixels"):
        key = f"facades.{encoder}.g.medium.map"
        assert metrics(project)[key] == pytest.approx(metrics(done)[key], abs=0.02)


# --- a user's own images and descriptors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for instance in range(3):
        base = generator.integers(0, 256, (40, 40, 3))
        for view in range(4):
            noisy = np.clip(base + generator.normal(0, 25, base.shape), 0, 255)
            path = tmp_path / "images" / f"thing_{instance}" / f"{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.astype(np.uint8)).save(path)
    return tmp_path / "images"


FOLDER = "data/folder"


def run_folder(project: Project, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    values = [f"dataset.root={root}", "use=pixels;random", "encoders.random.width=4", *more]
    values += ["image.size=40"]
    parameters = ",".join(f"{KEY}.{value}" for value in values)
    return project.kedro("run", "--pipeline", KEY, "--env", "folder", "--params", parameters)


def test_a_folder_of_ones_own(done: Project, folder: Path, tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    finished = run_folder(project, folder)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = metrics(project, FOLDER)
    assert found["folder.pixels.g.map"] > 0.8  # noise on the same picture
    assert found["folder.pixels.true_dimension.map"] == 1
    assert found["folder.chance.map"] < 0.6
    report = (results(project, FOLDER) / "report.html").read_text()
    table = report.split("Table 3.2: folder</h2>")[1].split("</section>")[0]
    assert "pixels" in table
    assert "random" in table
    manifest = json.loads((results(project, FOLDER) / "run_manifest.json").read_text())
    assert manifest["data"]["images"] == {"folder": 12}


def test_broken_images_are_skipped_and_listed_or_end_the_run(folder: Path, tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    (folder / "thing_1" / "2.png").write_bytes(b"broken")
    finished = run_folder(project, folder)
    assert finished.returncode != 0
    assert "extract.max_skipped" in finished.stderr
    assert "thing_1/2.png" in finished.stderr
    finished = run_folder(project, folder, "extract.max_skipped=0.2")
    assert finished.returncode == 0, finished.stderr
    assert "thing_1/2.png" in (results(project, FOLDER) / "report.html").read_text()
    assert metrics(project, FOLDER)["folder.pixels.g.map"] < 1  # it cannot be found


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (shutil.rmtree, "found nothing at"),
        (lambda root: (root / "labels.csv").write_text("file,instance\nnone.png,a\n"), "none.png"),
    ],
)
def test_unusable_folders_end_before_any_work(
    folder: Path, tmp_path: Path, make: Any, message: str
) -> None:
    project = copied_project(tmp_path / "project")
    make(folder)
    finished = run_folder(project, folder)
    assert finished.returncode != 0
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (project.path / FOLDER / "04_feature").exists()


def own(
    project: Project, folder: Path, truth: Path, name: str, *more: str
) -> subprocess.CompletedProcess[str]:
    values = [
        f"descriptors.database={folder / 'X.npy'}",
        f"descriptors.queries={folder / 'Q.npy'}",
        f"dataset.name={name}",
        f"dataset.ground_truth={truth}",
    ]
    parameters = ",".join(f"{KEY}.{value}" for value in values)
    return project.kedro("run", "--pipeline", KEY, "--params", parameters, *more)


def small_truth(folder: Path) -> Path:
    content = {
        "imlist": [f"i{n}" for n in range(8)],
        "qimlist": ["a", "b"],
        "gnd": [
            {"bbx": [0, 0, 9, 9], "easy": [0, 1], "hard": [2], "junk": [3]},
            {"bbx": [0, 0, 9, 9], "easy": [], "hard": [5], "junk": []},
        ],
    }
    path = folder / "gnd_small.json"
    path.write_text(json.dumps(content))
    return path


def descriptors(folder: Path, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    found = []
    for name, count in (("X", 8), ("Q", 2)):
        x = generator.normal(size=(count, 6)).astype(np.float32)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        np.save(folder / f"{name}.npy", x)
        found.append(x)
    return found[0], found[1]


def test_ones_own_descriptors_need_no_images(tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    database, queries = descriptors(tmp_path)
    finished = own(project, tmp_path, small_truth(tmp_path), "small")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = metrics(project)
    order = np.argsort(-(queries[1] @ database.T), kind="stable").tolist()
    place = order.index(5)
    expected = ((0 if place else 1) + 1 / (place + 1)) / 2
    assert found["small.own.g.easy.map"] >= 0
    per_query = json.loads((results(project) / "results.json").read_text())
    scores = per_query["evaluations"]["small"]["own"]["rankings"]["g"]
    assert scores["medium"]["ap"][1] == pytest.approx(expected)
    assert scores["easy"]["ap"][1] is None
    assert "b" in (results(project) / "report.html").read_text()


def test_ones_own_descriptors_of_another_task_after_a_run(done: Project, tmp_path: Path) -> None:
    """With the tag alone: the summary that the earlier run left knows nothing of this task."""
    project = Project(tmp_path / "copy")
    shutil.copytree(done.path, project.path)
    descriptors(tmp_path)
    finished = own(project, tmp_path, small_truth(tmp_path), "small", "--tags", "evaluate")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = metrics(project)
    assert 0 < found["small.own.g.medium.map"] <= 1
    assert 0 < found["small.chance.medium.map"] < 1


def test_descriptors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    database, _ = descriptors(tmp_path)
    np.save(tmp_path / "X.npy", database[:-1])
    finished = own(project, tmp_path, small_truth(tmp_path), "small")
    assert finished.returncode != 0
    assert "7 rows" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_malicious_ground_truth_is_refused_without_running_it(tmp_path: Path) -> None:
    project = copied_project(tmp_path / "project")
    descriptors(tmp_path)
    mark = tmp_path / "ran"
    truth = tmp_path / "gnd.pkl"
    truth.write_bytes(b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.")
    finished = own(project, tmp_path, truth, "roxford5k")
    assert finished.returncode != 0
    assert "gnd.pkl" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not mark.exists()


@pytest.mark.skipif(not (SHARED / "reference").exists(), reason="reference values are not here")
@pytest.mark.parametrize(
    ("dataset", "suffix", "keys"),
    [
        ("roxford5k", "pkl", {"easy": "E", "medium": "M", "hard": "H"}),
        ("oxford5k", "mat", {"": ""}),
    ],
)
def test_reference_descriptors_give_the_reference_scores(
    tmp_path: Path, dataset: str, suffix: str, keys: dict[str, str]
) -> None:
    import tarfile  # noqa: PLC0415

    with tarfile.open(SHARED / "data" / "retrieval-gt.tar.xz") as archive:
        archive.extractall(tmp_path / "gt", filter="data")
    truth = next((tmp_path / "gt").rglob(f"gnd_{dataset}.{suffix}"))
    with np.load(SHARED / "reference" / f"synthetic_features_{dataset}.npz") as features:
        np.save(tmp_path / "X.npy", features["X"])
        np.save(tmp_path / "Q.npy", features["Q"])
    project = copied_project(tmp_path / "project")
    finished = own(project, tmp_path, truth, dataset)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    expected = json.loads((SHARED / "reference" / "retrieval_expected.json").read_text())
    for level, key in keys.items():
        values = expected["values"][dataset]
        place = f"{dataset}.own.g.{level}.map" if level else f"{dataset}.own.g.map"
        assert metrics(project)[place] == pytest.approx(
            (values[key] if key else values)["mAP"], abs=1e-9
        )

"""What is refused before a run starts: the whole command but for its nodes, in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click import ClickException
from kedro.config import MissingConfigException
from kedro.framework.project import configure_project, pipelines
from kedro.io import DatasetError
from kedro.runner import SequentialRunner
from PIL import Image

from conftest import ROOT
from ssl_kedro import cli
from ssl_kedro.core.errors import UserError
from ssl_kedro.hooks.launchers import LauncherError, check_alone
from ssl_kedro.hooks.project import mendable_message
from ssl_kedro.pipelines import effective_parameters

Command = Callable[..., str]


class StartedError(Exception):
    """The run has started."""


class NothingRuns(SequentialRunner):
    """Comes as far as the first node."""

    def run(self, *_arguments: Any, **_options: Any) -> Any:
        raise StartedError


PIPELINES = ("dual_gating", "dynamic_channels", "retrieval_eval", "saliency360")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of configuration alone for each pipeline, without tracking, with some images.

    Each has the configuration of one: reading that of all takes longer than all else.
    """
    top = tmp_path_factory.mktemp("refused")
    for name in PIPELINES:
        others = [f"*_{other}.yml" for other in PIPELINES if other != name]
        shutil.copytree(
            ROOT / "conf", top / name / "conf", ignore=shutil.ignore_patterns(*others, "_*")
        )
        shutil.copy(ROOT / "pyproject.toml", top / name)
        for environment in (top / name / "conf").glob("*/"):
            (environment / ".keep").touch()
        (top / name / "conf/base/mlflow.yml").write_text(
            "{tracking_uri: 'sqlite:///m.db', experiment: e, enabled: false}"
        )
        for kind in ("a", "b"):
            (top / name / "images" / kind).mkdir(parents=True)
            for index in range(6):
                Image.new("RGB", (8, 8)).save(top / name / "images" / kind / f"{index}.png")
        images, labels = np.zeros((6, 8, 8), dtype=np.uint8), np.arange(6) % 2
        arrays = {"x_train": images, "y_train": labels, "x_test": images, "y_test": labels}
        np.savez(top / name / "small.npz", **arrays)
        Image.new("RGB", (8, 8)).save(top / name / "panorama.png")
    return top


@pytest.fixture
def kedro(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """``kedro run`` of some options: what it says if it is refused, "started" if not."""
    monkeypatch.chdir(folder / PIPELINES[0])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(effective_parameters, "_source", [])
    configure_project("ssl_kedro")

    def run(*options: str) -> str:
        arguments = ["--runner", f"{__name__}.NothingRuns", *options]
        if options[:1] == ("--pipeline",) and options[1] in PIPELINES:
            monkeypatch.chdir(folder / options[1])
        try:
            cli.run.main(arguments, prog_name="run", standalone_mode=False)
        except StartedError:
            return "started"
        except (UserError, ClickException, DatasetError, MissingConfigException) as error:
            message = mendable_message(error) or getattr(error, "message", None)
            assert message is not None, repr(error)
            assert not Path("m.db").exists()
            return str(message)
        raise AssertionError("nothing was run and nothing was said")

    yield run
    pipelines.configure("ssl_kedro.pipeline_registry")


def with_values(pipeline: str, values: str) -> list[str]:
    """Options that run a pipeline with some of its parameters changed."""
    changed = ",".join(f"{pipeline}.{one}" for one in values.split(",") if one)
    return ["--pipeline", pipeline, *(["--params", changed] if changed else [])]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_what_can_run_starts(pipeline: str, kedro: Command) -> None:
    assert kedro(*with_values(pipeline, "")) == "started"


@pytest.mark.parametrize(
    ("pipeline", "values", "said"),
    [
        ("dual_gating", "train.batch_size=3000", "train.batch_size = 3000: expected at most 2000"),
        (
            "dual_gating",
            "parts=table_6_3,methods.simreg.train.batch_size=2001",
            "methods.simreg.train.batch_size = 2001: expected at most 2000, the number of train",
        ),
        ("dual_gating", "methods.simreg.train.batch_size=2001", "started"),
        ("dynamic_channels", "knn.k=2001", "dynamic_channels.knn.k = 2001: expected at most 2000"),
        ("dual_gating", "data.limit=5", "data.limit = 5: found 10 classes; expected a limit of at"),
        ("dual_gating", "data.eval_limit=5", "data.eval_limit = 5: found 10 classes"),
        ("dual_gating", "data.generated=1", "data.generated = 1: found 10 classes; expected at le"),
        ("dual_gating", "data.generated=100000000000", "expected a number at least 1 and at most"),
        (
            "dual_gating",
            "data.source=folder",
            "dual_gating.data.root = None: found no folder given",
        ),
        ("dual_gating", "data.source=npz", "dual_gating.data.root = None: found no file given"),
        ("dual_gating", "data.source=cifar10", "data.root = None: found no folder given; expected"),
        ("dual_gating", "data.source=stl10,data.root=.", "data.root = '.': found no stl10_binary/"),
        ("dual_gating", "data.source=folder,data.root=gone", "solve it, set dual_gating.data.root"),
        (
            "dual_gating",
            "encoder.init=./gone",
            "dual_gating.encoder.init = './gone': expected a folder that exists, from the dual_gat",
        ),
        (
            "dynamic_channels",
            "encoder.init.kind=solo_learn,encoder.init.file=gone.ckpt",
            "dynamic_channels.encoder.init.file = 'gone.ckpt': expected a file that exists",
        ),
        (
            "dual_gating",
            "data.source=folder,data.root=images",
            "dual_gating.train.batch_size = 32: expected at most 10, the number of training",
        ),
        (
            "dual_gating",
            "data.source=folder,data.root=images,train.batch_size=10,parts=table_6_1",
            "started",
        ),
        (
            "dual_gating",
            "recipe=authors,data.source=folder,data.root=images,train.batch_size=10",
            "dual_gating.parts = ['table_6_1', 'figure_6_1', 'figure_6_2']: expected parts with",
        ),
        (
            "dual_gating",
            "data.source=npz,data.root=small.npz",
            "dual_gating.train.batch_size = 32: expected at most 6",
        ),
        (
            "dual_gating",
            "data.source=digits,train.batch_size=1441",
            "train.batch_size = 1441: expected at most 14",
        ),
        (
            "dual_gating",
            "parts=table_6_3,distillation.teacher=nobody",
            "dual_gating.distillation.teacher = 'nobody': expected \"vicreg\", or the name of an",
        ),
        (
            "dual_gating",
            "parts=table_6_3,distillation.teacher=dual_gating.budget_77.encoder",
            "dual_gating.distillation.teacher = 'dual_gating.budget_77.encoder': expected",
        ),
        (
            "retrieval_eval",
            "datasets.mine.source=folder,evaluate=mine",
            "retrieval_eval.datasets.mine.root = None: expected a folder with the images",
        ),
        (
            "retrieval_eval",
            "encoders.moco.kind=moco_v2,encoders.moco.file=gone.pth",
            "retrieval_eval.encoders = ['moco']: expected files that exist; these do not",
        ),
        ("retrieval_eval", "dataset.max_queries=5", "dataset.name = None: expected the name of a"),
        ("saliency360", "data.count_train=1", "saliency360.data.count_train = 1: expected at leas"),
        ("saliency360", "data.count_test=0", "saliency360.folds = 0: expected panoramas in both"),
        ("saliency360", "folds=100", "started"),
        ("saliency360", "folds=100,data.count_train=3", "saliency360.folds = 100: expected at mos"),
        ("saliency360", "deploy=vgg", "saliency360.deploy = 'vgg': expected a model of this run ("),
        ("saliency360", "deploy=vgg,ablations=architecture", "started"),
        ("saliency360", "train.batch_size=193", "train.batch_size = 193: expected at most 192"),
        (
            "saliency360",
            "pretrain_on=unlabelled,data.count_unlabelled=0",
            "saliency360.pretrain_on = 'unlabelled': expected panoramas to pre-train on",
        ),
        (
            "saliency360",
            "encoders.contrastive.kind=file,encoders.contrastive.file=gone",
            "saliency360.encoders.contrastive.file = 'gone': expected a bundle folder that exists",
        ),
        ("saliency360", "data.source=folder,data.root=gone", "gone: found nothing there"),
        ("saliency360", "predict.input=gone.png", "predict.input = 'gone.png': found no such file"),
        ("saliency360", "predict.input=panorama.png", "twice as wide as high"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_node(
    pipeline: str, values: str, said: str, kedro: Command
) -> None:
    assert said in kedro(*with_values(pipeline, values))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "--tags pretran",
            "--tags pretran: there is none; did you mean 'pretrain'? known: assemble, best",
        ),
        ("--tags pretrain,vicrg", "--tags vicrg: there is none; did you mean 'vicreg'?"),
        ("--tags table_6_9", "--tags table_6_9: there is none; did you mean 'table_6_"),
        ("--tags table_6_4,pretrain", "started"),
        ("--tags few_labels,export", "--tags = 'few_labels,export': expected a tag of what"),
        ("--pipeline saliency360 --tags architectur", "did you mean 'architecture'?"),
        (
            "--nodes dual_gating.summarise_dat",
            "there is none; did you mean 'dual_gating.summarise_",
        ),
        ("--from-nodes x", "--from-nodes x: there is none; known: "),
        ("--to-nodes dual_gating.report1", "there is none; did you mean 'dual_gating.report'?"),
        ("--from-inputs dual_gating.train_image", "did you mean 'dual_gating.train_images'?"),
        ("--to-outputs dual_gating.metric", "did you mean 'dual_gating.metrics'?"),
        ("--namespaces dual_gatin", "--namespaces dual_gatin: there is none; did you mean 'dual_"),
        (
            "--nodes dual_gating.report --tags vicreg",
            "no node is selected by all of --tags vicreg, --nodes dual_gating.report",
        ),
        ("--runner SequentialRuner", "did you mean 'SequentialRunner'? known: SequentialRunner"),
        ("--runner os.path", "--runner os.path: there is none; known: Sequential"),
        ("--runner nobody.Runner", "--runner nobody.Runner: there is none"),
        ("--runner-params workers=2", "--runner-params: "),
        ("--params dual_gating.seed='", "expected key=value,key=value with values as in YAML"),
        ("--params dual_gating.seed=[", "expected key=value,key=value with values as in YAML"),
        ("--env cifar01", "--env cifar01: there is none; did you mean 'cifar10'? known: base"),
        ("--pipeline dual_gatin", "--pipeline dual_gatin: there is none; did you mean 'dual_gatin"),
        ("--params seed=3", "--params seed: did you mean 'dual_gating.seed'?"),
        ("--params retrieval_eval.seed=3", "--params retrieval_eval: this run, of dual_gating, do"),
        ("--params dual_gating=5", "dual_gating = 5: expected its parameters by name; known: abl"),
        ("--params dual_gating.train=5", "dual_gating.train = 5: "),
        ("--params dual_gating.trian.lr=5", "dual_gating.trian: there is no such key; did you me"),
        ("--params dual_gating.train.lrr=5", "dual_gating.train.lrr: there is no such key; did y"),
        (
            "--params dual_gating.methods.seed.options.temperatures.studnt=1",
            "methods.seed.options.temperatures.studnt = 1: expected one of the keys there; did you "
            "mean 'student'?",
        ),
        (
            "--pipeline retrieval_eval --params retrieval_eval.encoders.pixels.sid=3",
            "retrieval_eval.encoders.pixels.sid: there is no such key; did you mean 'side'?",
        ),
        (
            "--pipeline saliency360 --params saliency360.models.random.fine_tun=3",
            "saliency360.models.random.fine_tun: there is no such key; did you mean 'fine_tune'?",
        ),
    ],
)
def test_names_that_there_are_none_of_are_refused_with_the_nearest(
    options: str, said: str, kedro: Command
) -> None:
    assert said in kedro(*options.split())


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("parameters_x.yml", "dual_gating:\n  seed: [1,\n", "parameters_x.yml, line 3: found no v"),
        ("parameters_x.yml", "x:\n\ty: 1\n", "parameters_x.yml, line 2: found no valid YAML"),
        ("parameters_x.yml", "- 1\n", "parameters_x.yml: found a list; expected keys with values"),
        ("parameters_x.yml", "x: \udcff", "parameters_x.yml: found no valid YAML"),
        ("catalog_x.yml", "x: {", "catalog_x.yml, line 1: found no valid YAML"),
        ("globals.yml", "x: 1\nx: 2\n", "globals.yml, line 2: found no valid YAML (found duplic"),
        ("mlflow_x.yml", "'", "mlflow_x.yml, line 1: found no valid YAML"),
        ("parameters_x.yml", "dual_gating: {seed: 1}", "Duplicate keys found in"),
        ("parameters_x.yml", "x: '${oc.env:SSL_KEDRO_NO}'", "Environment variable 'SSL_KEDRO_NO'"),
        ("parameters_x.yml", "x: '${oc.evn:HOME}'", "at x: Unsupported interpolation type oc.evn"),
    ],
)
def test_files_of_the_configuration_that_cannot_be_read_are_named(
    file: str, text: str, said: str, kedro: Command
) -> None:
    path = Path("conf/base") / file
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        assert said in kedro()
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("catalog_dual_gating.yml", "which is not in the catalog"),
        ("parameters_dual_gating.yml", "the catalog refers to the parameter 'dual_gating"),
    ],
)
def test_files_of_the_configuration_that_are_missing_are_told(
    file: str, said: str, kedro: Command
) -> None:
    path = Path("conf/base") / file
    kept = path.read_text()
    path.unlink()
    try:
        assert said in kedro()
    finally:
        path.write_text(kept)


@pytest.mark.parametrize(
    ("pipeline", "machines", "said"),
    [
        (
            "saliency360",
            1,
            "torchrun, once; it starts its workers itself: --params saliency360.train.workers=4",
        ),
        (
            "dual_gating",
            2,
            "once on each machine; it starts its workers itself: --params "
            "dual_gating.train.workers=2,dual_gating.train.nodes=2,dual_gating.train.rendezvous=a:29400",
        ),
        ("retrieval_eval", 1, "without torchrun, once: nothing is trained in it"),
    ],
)
def test_one_of_several_runs_of_torchrun_is_refused(
    pipeline: str, machines: int, said: str, kedro: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": 4, "MASTER_ADDR": "a"}
    for name, value in (variables | {"LOCAL_WORLD_SIZE": 4 // machines}).items():
        monkeypatch.setenv(name, str(value))
    found = kedro(*with_values(pipeline, ""))
    assert "torchrun has started this run 4 times (WORLD_SIZE)" in found
    assert said in found


def test_one_run_of_torchrun_and_variables_of_other_launchers_are_let_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``torchrun --nproc-per-node 1`` starts one."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "1")
    check_alone(["dual_gating"])
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "0")
    with pytest.raises(LauncherError, match=r"torchrun has started this run 4 times"):
        check_alone(["dual_gating"])
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    for count in ("4", "", "abc"):
        monkeypatch.setenv("WORLD_SIZE", count)
        check_alone(["dual_gating"])

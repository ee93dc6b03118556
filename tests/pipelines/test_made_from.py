"""The catalog says of every result which parameters went into it: as its node really reads them."""

import json
import shutil
from pathlib import Path

import pytest

from conftest import TINY, TINY_SALIENCY, Project
from pipelines.test_dynamic_channels import TINY as TINY_DYNAMIC
from pipelines.test_few_labels import TUNING
from pipelines.test_retrieval_eval import TINY as TINY_RETRIEVAL

PROGRAM = Path(__file__).with_name("parameters_read.py")
RUNS = {
    "dual_gating": TINY,
    "dynamic_channels": TINY_DYNAMIC | TUNING | {"frontier.budgets": "0.5", "keep_head": "true"},
    "retrieval_eval": TINY_RETRIEVAL,
    "saliency360": TINY_SALIENCY,
}
# With peers there are all nodes of a run without, and more.
TAGS = {"dynamic_channels": ("--tags", "frontier,few_labels,transfer")}
# What does not have to be the same in results that stand together: names that lie in the results'
# own names, switches of what is made at all, and what only words and pictures follow.
APART = {
    "dual_gating": {
        *("budgets", "parts", "repeats", "published", "published_data_is_ours", "keep_head"),
    },
    "dynamic_channels": {
        *("budgets", "repeats", "published", "published_data_is_ours", "keep_head"),
    },
    "retrieval_eval": {"use", "evaluate", "gallery", "ensembles", "descriptors"},
    "saliency360": {"ablations", "gallery", "cache_mb", "predict"},
}
# Of these a node only looks whether their files are there, or a cluster is reached.
LOOKED_AT = {"data_summary.json": {"encoders", "extract"}}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", RUNS)
def test_results_are_made_from_what_their_nodes_read(pipeline: str, project: Project) -> None:
    values = ",".join(f"{pipeline}.{key}={value}" for key, value in RUNS[pipeline].items())
    file = project.path / "read.json"
    shutil.copy(PROGRAM, project.path)
    arguments = (str(file), "run", "--pipeline", pipeline, "--params", values)
    arguments += TAGS.get(pipeline, ())
    done = project.kedro(*arguments, module=PROGRAM.stem)
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.loads(file.read_text())
    left = [*project.path.rglob(".*.origin.json"), *project.path.rglob("origin.json")]
    assert len(left) > 10
    missing = {}
    for path in left:
        origin = json.loads(path.read_text())
        if "08_reporting" in path.parts:  # nothing else is made from pages and figures
            continue
        sections = {key.split(".")[1] for key in origin["shared"]}
        unsaid = set(read.get(origin["node"], ())) - sections - APART[pipeline]
        unsaid -= LOOKED_AT.get(path.name.removeprefix(".").removesuffix(".origin.json"), set())
        if unsaid:
            missing[str(path.relative_to(project.path))] = sorted(unsaid)
    assert not missing

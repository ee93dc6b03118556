"""What a run asks of the catalog, checked before its first node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np
import pytest
from kedro.io import DataCatalog, DatasetError, DatasetNotFoundError
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner

from conftest import Project
from ssl_kedro.hooks.catalog import VersionError, check_catalog
from ssl_kedro.hooks.project import mendable_message

VERSIONS = [f"2026-01-0{number}T00.00.00.000Z" for number in (1, 2)]
RECORD = {"type": "ssl_kedro.datasets.files.RecordDataset", "record": "builtins.dict"}
# Patterns, as in this project's own catalog.
CONFIG: dict[str, Any] = {
    "{model}.training": {
        **RECORD,
        "filepath": "memory:///room/{model}/training.json",
        "versioned": True,
    },
    "{model}.features": {
        "type": "kedro.io.CachedDataset",
        "dataset": {
            "type": "ssl_kedro.datasets.files.TensorsDataset",
            "filepath": "memory:///room/{model}/features.safetensors",
        },
        "versioned": True,
    },
    "report": {**RECORD, "filepath": "memory:///room/report.json"},
}
TRAIN = Pipeline(
    [node(lambda seed: {"seed": seed}, "params:seed", "dual.budget_30.training", name="train")]
)
REPORT = Pipeline([node(lambda found: {"of": found["seed"]}, "dual.budget_30.training", "report")])


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def catalog(load: dict[str, str] | None = None, save: str | None = None) -> DataCatalog:
    return DataCatalog.from_config(CONFIG, load_versions=load, save_version=save)


@pytest.fixture
def trained() -> None:
    for seed, version in enumerate(VERSIONS):
        made = catalog(save=version)
        made["params:seed"] = seed
        SequentialRunner().run(TRAIN, made)


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(("load", "seed"), [(None, 1), (VERSIONS[0], 0), (VERSIONS[1], 1)])
def test_a_run_reads_the_version_that_it_is_told(load: str | None, seed: int) -> None:
    wanted = {} if load is None else {"dual.budget_30.training": load}
    made = catalog(wanted)
    check_catalog(REPORT, made, wanted)
    SequentialRunner().run(REPORT, made)
    assert made.load("report") == {"of": seed}


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        (
            "dual.budget_30.training",
            "2026-01-03",
            f"there is no such version; known: {VERSIONS[1]}, {VERSIONS[0]}",
        ),
        (
            "dual.budget_50.training",
            VERSIONS[0],
            "reads no versions of it; it reads those of dual.budget_30.training",
        ),
        ("report", VERSIONS[0], "Give its entry in the catalog versioned: true"),
    ],
)
def test_a_version_that_cannot_be_loaded_is_refused(name: str, version: str, said: str) -> None:
    with pytest.raises(VersionError, match=rf"--load-versions {name}.*{said}"):
        check_catalog(REPORT, catalog({name: version}), {name: version})


def test_a_version_of_what_was_never_saved_is_refused() -> None:
    wanted = {"dual.budget_30.training": VERSIONS[0]}
    with pytest.raises(VersionError, match="there is no such version; known: none"):
        check_catalog(REPORT, catalog(wanted), wanted)


def test_a_version_of_what_no_catalog_has_is_one_sentence() -> None:
    with pytest.raises(DatasetNotFoundError) as raised:
        catalog({"nothing": VERSIONS[0]})
    assert mendable_message(raised.value) == (
        "'load_versions' keys [nothing] are not found in the catalog."
    )


def test_versions_are_found_inside_a_cache() -> None:
    arrays = {"a": np.arange(3.0)}
    catalog(save=VERSIONS[0]).save("dual.features", arrays)
    reading = Pipeline([node(lambda found: {"of": 1}, "dual.features", "report")])
    wanted = {"dual.features": VERSIONS[0]}
    check_catalog(reading, catalog(wanted), wanted)


@pytest.mark.parametrize("scheme", ["gs", "nowhere"])
def test_a_scheme_that_cannot_be_used_is_refused_by_name(scheme: str) -> None:
    entry = {**RECORD, "filepath": f"{scheme}://bucket/training.json"}
    made = DataCatalog.from_config({**CONFIG, "{model}.training": entry})
    with pytest.raises(DatasetError) as raised:
        check_catalog(REPORT, made, None)
    message = mendable_message(raised.value) or ""
    assert message.startswith(f"filepath = '{scheme}://bucket/training.json': expected a path")
    assert "\n" not in message


@pytest.mark.slow
def test_the_command_line_says_which_versions_there_are(project: Project) -> None:
    """``dual_gating.data_summary`` is made by a pattern; the entry of one's own has a version."""
    (project.path / "conf/local/catalog.yml").write_text(
        "dual_gating.data_summary:\n"
        "  type: ssl_kedro.datasets.files.RecordDataset\n"
        "  record: ssl_kedro.pipelines.gated.records.DataSummary\n"
        "  filepath: ${room:}/03_primary/dual_gating/data_summary.json\n"
        "  versioned: true\n"
    )
    done = project.run({}, "--to-outputs", "dual_gating.data_summary")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = project.path / "data/03_primary/dual_gating/data_summary.json"
    (version,) = (path.name for path in kept.iterdir())
    refused = project.run({}, "--load-versions", "dual_gating.data_summary:2020-01-01")
    assert refused.returncode != 0
    assert f"there is no such version; known: {version}" in " ".join(refused.stderr.split())

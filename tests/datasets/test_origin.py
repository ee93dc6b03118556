"""What is kept beside a result about what made it."""

from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from kedro.io import Version

from ssl_kedro.datasets.files import TensorsDataset, WholeFileDataset
from ssl_kedro.datasets.origin import Origin, read_origin, write_origin

ORIGIN = Origin(
    made="2026-01-02T03:04:05+00:00",
    node="train",
    version="1.0",
    shared={"own.seed": "3", "own.encoder.width": "8"},
    images={"own.train_images": "aa"},
    own={"method": "vicreg"},
)


def test_it_agrees_with_a_run_of_the_same_parameters() -> None:
    parameters = {**ORIGIN.shared, "own.report": "anything"}
    assert not list(ORIGIN.differences("1.0", parameters, {}))
    assert not list(ORIGIN.differences("1.0", parameters, {"own.train_images": "aa"}))


@pytest.mark.parametrize(
    ("version", "changes", "images", "expected"),
    [
        ("1.1", {}, {}, ("version of ssl_kedro", "1.0", "1.1")),
        ("1.0", {"own.encoder.width": "4"}, {}, ("own.encoder.width", "8", "4")),
        ("1.0", {}, {"own.train_images": "bb"}, ("content of own.train_images", "aa", "bb")),
    ],
)
def test_what_differs_is_named_with_both_values(
    version: str, changes: dict[str, str], images: dict[str, str], expected: tuple[str, str, str]
) -> None:
    assert list(ORIGIN.differences(version, ORIGIN.shared | changes, images)) == [expected]


def test_a_parameter_that_is_not_there_any_more_differs() -> None:
    assert list(ORIGIN.differences("1.0", {"own.seed": "3"}, {})) == [
        ("own.encoder.width", "8", "not set")
    ]


def test_the_fingerprint_changes_with_all_but_time_and_commit() -> None:
    assert replace(ORIGIN, made="later", commit="abc").fingerprint == ORIGIN.fingerprint
    for change in ({"own": {}}, {"shared": {}}, {"images": {}}, {"inputs": {"a": "b"}}):
        assert replace(ORIGIN, **change).fingerprint != ORIGIN.fingerprint  # type: ignore[arg-type]


@pytest.fixture(params=["file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = str(tmp_path) if request.param == "file" else "memory://origin"
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
    return f"{folder}/deep/features.safetensors"


@pytest.mark.parametrize("version", [None, Version(None, "2026-01-02T03.04.05.678Z")])
def test_it_is_kept_wherever_the_result_lies(place: str, version: Version | None) -> None:
    dataset = TensorsDataset(filepath=place, version=version)
    dataset.save({"x": np.zeros(2, np.float32)})
    assert read_origin(dataset) is None
    write_origin(dataset, ORIGIN)
    assert read_origin(TensorsDataset(filepath=place, version=version)) == ORIGIN
    dataset.forget_beside()
    assert read_origin(dataset) is None


def test_files_of_one_name_and_several_kinds_have_one_each(tmp_path: Path) -> None:
    found = {}
    for kind in ("json.JSONDataset", "text.TextDataset"):
        path = tmp_path / f"inference.{kind[:4]}"
        found[kind] = WholeFileDataset(dataset={"type": kind}, filepath=str(path))
        found[kind].save("text")
        write_origin(found[kind], replace(ORIGIN, node=kind))
    assert [read_origin(d).node for d in found.values()] == list(found)  # type: ignore[union-attr]


def test_a_damaged_one_counts_as_none(tmp_path: Path) -> None:
    dataset = WholeFileDataset(
        dataset={"type": "json.JSONDataset"}, filepath=str(tmp_path / "x.json")
    )
    dataset.save({})
    for content in (b"", b"[]", b'{"made": 1}', b"\xff\x00"):
        dataset.write_beside(content)
        assert read_origin(dataset) is None

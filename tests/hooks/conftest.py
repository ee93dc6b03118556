"""Empty project folders, with and without a database."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    path = tmp_path / "a project"  # a space, which URIs have to escape
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without experiments; making its tables takes seconds, a copy does not."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def folder(empty_folder: Path, tables: Path) -> Path:
    shutil.copy(tables, empty_folder / "mlflow.db")
    return empty_folder

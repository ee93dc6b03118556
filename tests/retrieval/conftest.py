from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "retrieval-gt.tar.xz"


@pytest.fixture(scope="session")
def ground_truth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published ground-truth files, unpacked."""
    if not ARCHIVE.exists():
        pytest.skip("the published ground truth is not here")
    folder = tmp_path_factory.mktemp("ground_truth")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder

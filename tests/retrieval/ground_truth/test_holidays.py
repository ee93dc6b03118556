from __future__ import annotations

from pathlib import Path

import pytest

from ssl_kedro.retrieval.ground_truth.holidays import holidays_from_names
from ssl_kedro.retrieval.ground_truth.model import GroundTruthError
from ssl_kedro.retrieval.ground_truth.read import read_ground_truth


@pytest.mark.parametrize("spelled", ["{}", "{}.jpg", "jpg/{}.jpg"])
def test_groups_by_hand(spelled: str) -> None:
    numbers = ["100101", "100000", "100002", "100001", "100100", "100200"]
    names = [spelled.format(number) for number in numbers]
    found = holidays_from_names(names)
    assert found.database == tuple(names)
    assert found.queries == tuple(names[place] for place in (1, 4, 5))
    assert found.query_in_database.tolist() == [1, 4, 5]
    assert [part.tolist() for part in found.judgements.lists["ok"]] == [[3, 2], [0], []]
    assert [part.tolist() for part in found.judgements.lists["junk"]] == [[1], [4], [5]]
    assert found.queries_without_positives("") == (names[5],)


def test_equals_the_published_file(ground_truth_folder: Path) -> None:
    published = read_ground_truth(next(ground_truth_folder.rglob("gnd_holidays.mat")))
    found = holidays_from_names([f"jpg/{name}.jpg" for name in published.database])
    assert found.query_in_database.tolist() == published.query_in_database.tolist()
    for name in ("ok", "junk"):
        pairs = zip(found.judgements.lists[name], published.judgements.lists[name], strict=True)
        assert all(ours.tolist() == theirs.tolist() for ours, theirs in pairs)
    assert len(found.queries) == 500


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["100000", "IMG_1.jpg"], "1 names that are not Holidays' .*IMG_1.jpg"),
        (["100000", "1000001"], "1 names that are not Holidays'"),
        (["a/100000.jpg", "b/100000.jpg"], "two images with the number 100000"),
        (["100000", "100101", "100302"], r"2 groups without their query \('100100', '100300'\)"),
        ([], "an empty database"),
    ],
)
def test_other_names_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(GroundTruthError, match=message):
        holidays_from_names(names)

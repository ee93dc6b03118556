"""Images that keep their labels: balanced over the classes, smaller shares inside larger."""

import numpy as np
import pytest

from ssl_kedro.core.seeding import numpy_generator
from ssl_kedro.images.subsets import balanced_order, label_count, labelled_subset

LABELS = np.repeat(np.arange(4), [50, 30, 20, 2]).astype(np.int64)


@pytest.mark.parametrize("count", [4, 8, 9, 40, 60, 102])
def test_every_beginning_is_as_equal_in_number_as_it_can_be(count: int) -> None:
    order = balanced_order(LABELS, numpy_generator(0, "a"))
    assert sorted(order) == list(range(len(LABELS)))
    found = np.bincount(LABELS[order[:count]], minlength=4)
    # A class that has more to give is at most one behind any other.
    available = np.bincount(LABELS)
    for one in range(4):
        if found[one] < available[one]:
            assert found[one] >= found.max() - 1


def test_a_smaller_share_lies_inside_a_larger_one() -> None:
    small, middle, whole = (set(labelled_subset(LABELS, s, 3)) for s in (0.05, 0.2, 1.0))
    assert small < middle < whole
    assert len(small) == 5 and len(middle) == 20 and len(whole) == len(LABELS)
    assert set(labelled_subset(LABELS, 0.2, 3)) == middle
    assert set(labelled_subset(LABELS, 0.2, 4)) != middle


def test_each_class_has_one_label_at_least() -> None:
    assert label_count(0.0001, 100, 4) == 4
    assert sorted(LABELS[labelled_subset(LABELS, 0.0001, 0)]) == [0, 1, 2, 3]

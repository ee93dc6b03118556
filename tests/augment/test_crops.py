from __future__ import annotations

import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from ssl_kedro.augment.config import ViewConfig
from ssl_kedro.augment.transforms import Boxes
from ssl_kedro.augment.views import draw_boxes

Pair = tuple[float, float]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.2, 1.0), (3 / 4, 4 / 3)),
        (96, 96, (0.08, 1.0), (3 / 4, 4 / 3)),
        (40, 64, (0.5, 1.0), (0.5, 2.0)),
        (32, 32, (0.9, 1.0), (0.5, 0.9)),  # about one box in eight is the fallback
    ],
)
def test_boxes_follow_the_distribution_of_torchvision(
    height: int, width: int, scale: Pair, ratio: Pair
) -> None:
    image = torch.zeros(3, height, width)
    torch.manual_seed(3)
    expected = torch.tensor(
        [RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(4000)]
    )
    config = ViewConfig(crop_scale=scale, crop_ratio=ratio)
    found = torch.stack(draw_boxes(20000, height, width, config, generator()), dim=1)
    statistics = {
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "height": lambda b: b[:, 2],
        "width": lambda b: b[:, 3],
        "area": lambda b: b[:, 2] * b[:, 3],
        "ratio": lambda b: b[:, 3] / b[:, 2],
        "bottom": lambda b: b[:, 0] + b[:, 2],
    }
    for name, statistic in statistics.items():
        test = stats.ks_2samp(statistic(found.double()), statistic(expected.double()))
        # Seven statistics in four cases: a p below 1e-4 by chance happens once in 350 runs of
        # another seed, and the seeds are fixed. Ties make the test conservative.
        assert test.pvalue > 1e-4, (name, test)


def test_boxes_lie_inside_the_image_in_whole_pixels() -> None:
    boxes = draw_boxes(5000, 24, 50, ViewConfig(crop_scale=(0.01, 1.0)), generator())
    for values in boxes:
        assert torch.equal(values, values.round())
    assert (boxes.height >= 1).all()
    assert (boxes.width >= 1).all()
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.top + boxes.height <= 24).all()
    assert (boxes.left + boxes.width <= 50).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(10, 100, (0, 43, 10, 13)), (100, 10, (43, 0, 13, 10)), (10, 12, (0, 0, 10, 12))],
)
def test_fallback_is_the_largest_centred_box(
    height: int, width: int, expected: tuple[int, int, int, int]
) -> None:
    # The whole area fits no allowed ratio, so every attempt fails in both implementations.
    scale, ratio = (1.0, 1.0), (3 / 4, 4 / 3)
    if (height, width) == (10, 12):
        ratio = (1.3, 1.3)
        expected = tuple(
            RandomResizedCrop.get_params(torch.zeros(3, height, width), list(scale), list(ratio))
        )
    config = ViewConfig(crop_scale=scale, crop_ratio=ratio)
    boxes = draw_boxes(3, height, width, config, generator())
    assert [tuple(map(int, box)) for box in zip(*boxes, strict=True)] == [expected] * 3
    assert (
        tuple(RandomResizedCrop.get_params(torch.zeros(3, height, width), list(scale), list(ratio)))
        == expected
    )


def test_extreme_ratio_never_gives_an_empty_box() -> None:
    config = ViewConfig(crop_scale=(1.0, 1.0), crop_ratio=(50.0, 60.0))
    boxes = draw_boxes(2, 8, 8, config, generator())
    assert boxes.height.tolist() == [1.0, 1.0]
    assert boxes.width.tolist() == [8.0, 8.0]


def test_samples_are_drawn_independently() -> None:
    boxes = draw_boxes(4000, 96, 96, ViewConfig(), generator())
    values = torch.stack(boxes).double()
    lagged = torch.corrcoef(torch.cat([values[:, 1:], values[:, :-1]]))[:4, 4:]
    assert lagged.abs().max() < 5 / 4000**0.5


def test_whole_image_box() -> None:
    config = ViewConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    boxes = draw_boxes(50, 32, 32, config, generator())
    full = torch.full((50,), 32.0)
    expected = Boxes(torch.zeros(50), torch.zeros(50), full, full)
    assert all(torch.equal(a, b) for a, b in zip(boxes, expected, strict=True))

from __future__ import annotations

import math

import pytest
import torch

from ssl_kedro.retrieval.pooling import (
    average,
    generalised_mean,
    maximum,
    region_maxima,
    rmac_regions,
)


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(23, 23, 14), (24, 32, 20), (24, 36, 20), (24, 48, 26), (32, 24, 20), (48, 24, 26)],
)
def test_number_of_regions_is_the_published_one(height: int, width: int, count: int) -> None:
    assert len(rmac_regions(height, width)) == count


def test_regions_by_hand() -> None:
    # Sides 6, 4, 3; places 0 | 0, 2 | 0, 1, 3.
    two, three = ([(top, left, 4) for top in (0, 2) for left in (0, 2)], (0, 1, 3))
    assert rmac_regions(6, 6) == (
        (0, 0, 6),
        *two,
        *[(top, left, 3) for top in three for left in three],
    )
    # 4:3 has two regions of the largest side, which overlap by 2/3: one more a row and level.
    assert [r for r in rmac_regions(6, 8) if r[2] == 6] == [(0, 0, 6), (0, 2, 6)]


@pytest.mark.parametrize(
    ("height", "width"), [(23, 23), (24, 32), (45, 30), (7, 31), (2, 2), (1, 1)]
)
@pytest.mark.parametrize("levels", [1, 3, 5])
def test_regions_lie_inside_and_touch_both_ends(height: int, width: int, levels: int) -> None:
    regions = rmac_regions(height, width, levels)
    assert len(set(regions)) == len(regions) or min(height, width) < 8
    for top, left, side in regions:
        assert 0 <= top <= height - side
        assert 0 <= left <= width - side
    assert max(left + side for _, left, side in regions) == width or len(regions) == 1
    assert max(top + side for top, _, side in regions) == height or len(regions) == 1


def test_turning_a_map_turns_its_regions() -> None:
    assert {(left, top, side) for top, left, side in rmac_regions(24, 40)} == set(
        rmac_regions(40, 24)
    )


@pytest.mark.parametrize("shape", [(3, 5, 23, 23), (2, 4, 12, 17), (2, 3, 9, 5), (1, 2, 1, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_region_maxima_equal_those_of_each_region(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = region_maxima(maps.contiguous(memory_format=layout), levels=4)
    regions = rmac_regions(shape[2], shape[3], 4)
    assert found.shape == (shape[0], len(regions), shape[1])
    for n in range(shape[0]):
        for r, (top, left, side) in enumerate(regions):
            for c in range(shape[1]):
                cells = [
                    float(maps[n, c, y, x])
                    for y in range(top, top + side)
                    for x in range(left, left + side)
                ]
                assert float(found[n, r, c]) == max(cells)


def test_global_pools_by_definition() -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for n in range(2):
        for c in range(3):
            cells = maps[n, c].flatten().tolist()
            assert float(maximum(maps)[n, c]) == max(cells)
            assert float(average(maps)[n, c]) == pytest.approx(math.fsum(cells) / 20)
            cubes = math.fsum(x**3 for x in cells) / 20
            assert float(generalised_mean(maps)[n, c]) == pytest.approx(cubes ** (1 / 3))
    assert torch.allclose(generalised_mean(maps, 1.0), average(maps))
    assert torch.allclose(generalised_mean(maps, 400.0), maximum(maps), rtol=0.01)


def test_faulty_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(N, C, h, w\), found \(3, 4\)"):
        region_maxima(torch.rand(3, 4))
    with pytest.raises(ValueError, match="power above 0, found -1"):
        generalised_mean(torch.rand(1, 1, 2, 2), -1)
    with pytest.raises(ValueError, match="found 0 x 3"):
        rmac_regions(0, 3)

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ssl_kedro.augment.config import PanoramaViewConfig
from ssl_kedro.augment.panorama_views import PanoramaViews
from ssl_kedro.spherical.sphere import rotation, rotation_plan

SIZE = (32, 64)
STILL = {"projections": False, "crop_area": 0.0, "shift_px": 0.0, "jitter": 0.0, "grey": 0.0}


def images(count: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *SIZE), generator=generator, dtype=torch.uint8)


def views(count: int = 12, seed: int = 1, **changes: object) -> tuple[Tensor, Tensor, Tensor]:
    config = PanoramaViewConfig(**{**STILL, **changes})  # type: ignore[arg-type]
    seen = images(count)
    source, other = PanoramaViews(config)(seen, torch.Generator().manual_seed(seed))
    return seen.float() / 255, source, other


def test_without_changes_both_are_the_panorama() -> None:
    seen, source, other = views(flip=0.0)
    torch.testing.assert_close(source, seen)
    torch.testing.assert_close(other, seen, atol=1e-5, rtol=0)


def test_both_views_are_mirrored_together() -> None:
    seen, source, other = views()
    mirrored = [bool(torch.allclose(source[k], seen[k].flip(-1))) for k in range(12)]
    assert 0 < sum(mirrored) < 12
    for k in range(12):
        expected = seen[k].flip(-1) if mirrored[k] else seen[k]
        torch.testing.assert_close(source[k], expected)
        torch.testing.assert_close(other[k], expected, atol=1e-5, rtol=0)


def test_half_of_the_other_views_bring_a_pole_to_the_equator() -> None:
    seen, source, other = views(400, projections=True, flip=0.0)
    torch.testing.assert_close(source, seen)
    candidates = {
        "as it is": seen,
        "zenith": rotation_plan(rotation(pitch_deg=-90), seen.shape[2:])(seen),
        "nadir": rotation_plan(rotation(pitch_deg=90), seen.shape[2:])(seen),
    }
    found = {
        name: int((other - made).abs().amax(dim=(1, 2, 3)).lt(1e-4).sum())
        for name, made in candidates.items()
    }
    assert sum(found.values()) == 400
    # Binomial: 200 +- 10, 100 +- 9.
    assert abs(found["as it is"] - 200) < 50
    assert abs(found["zenith"] - 100) < 45


def test_nearest_projection_makes_no_new_colours() -> None:
    seen, _, other = views(40, projections=True, flip=0.0, nearest_projection=True)
    for k in range(40):
        assert set(other[k].mul(255).round().unique().tolist()) <= set(
            seen[k].mul(255).round().unique().tolist()
        )


def test_shifts_go_around_the_seam_and_stop_at_the_poles() -> None:
    seen, _, other = views(40, shift_px=20.0, flip=0.0)
    moved = set()
    for k in range(40):
        matches = []
        for right in range(-4, 5):
            for down in range(-4, 5):
                rows = (torch.arange(32) - down).clamp(0, 31)
                if torch.allclose(seen[k].roll(right, -1)[:, rows], other[k], atol=1e-5):
                    matches.append((right, down))
        assert len(matches) == 1
        moved.add(matches[0])
    # 20 px of a panorama 160 high are 4 of one 32 high.
    assert max(abs(right) for right, _ in moved) == 4
    assert len(moved) > 20


def test_crops_leave_out_little() -> None:
    views_of = PanoramaViews(PanoramaViewConfig())
    boxes = views_of.draw(2000, SIZE, torch.Generator().manual_seed(0)).boxes
    area = boxes.width * boxes.height / (SIZE[0] * SIZE[1])
    assert float(area.min()) >= 0.95 - 1e-6
    assert float(area.max()) > 0.99
    assert float((boxes.left + boxes.width).max()) <= SIZE[1] + 1e-4
    assert float((boxes.top + boxes.height).max()) <= SIZE[0] + 1e-4


def test_the_authors_crop_is_always_the_same() -> None:
    boxes = (
        PanoramaViews(PanoramaViewConfig(authors_crop=True))
        .draw(5, (160, 320), torch.Generator().manual_seed(0))
        .boxes
    )
    assert boxes.left.unique().tolist() == [48]
    assert boxes.width.unique().tolist() == [224]
    assert (boxes.top.unique().tolist(), boxes.height.unique().tolist()) == ([0], [160])


def test_same_seed_same_views_whatever_else_is_in_the_batch() -> None:
    config = PanoramaViewConfig()
    first = PanoramaViews(config)(images(), torch.Generator().manual_seed(4))
    again = PanoramaViews(config)(images(), torch.Generator().manual_seed(4))
    other = PanoramaViews(config)(images(), torch.Generator().manual_seed(5))
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    for view in first:
        assert view.dtype == torch.float32
        assert 0 <= float(view.min()) <= float(view.max()) <= 1


def test_wrong_images_are_named() -> None:
    make = PanoramaViews(PanoramaViewConfig())
    with pytest.raises(TypeError, match=r"uint8 .* found torch.float32"):
        make(images().float(), torch.Generator())
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\), found \(12, 32, 64\)"):
        make(images()[:, 0], torch.Generator())

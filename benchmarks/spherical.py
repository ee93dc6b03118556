"""Rotations and samples in any direction beside py360convert, in one run; prints errors and ratios.

python benchmarks/spherical.py [--threads 1] [--rounds 15]

Both sample panoramas of a smooth function on the sphere, so that every value has a true one:

rotations        the result against the function in the directions of its pixels' centres, where
                 py360convert puts the outermost centres on the edges of the panorama.
viewport, cube   both in py360convert's directions: what interpolation and arithmetic leave.

Times: "fresh" computes the coordinates of a direction not asked for before, "again" uses them for
the next panoramas (py360convert keeps them in a cache, we in a plan).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from py360convert import e2c, e2p
from py360convert.utils import EquirecSampler, equirect_uvgrid, uv2coor, uv2unitxyz, xyz2uv
from py360convert.utils import xyzcube as their_cube
from py360convert.utils import xyzpers as their_viewport
from torch import Tensor

from ssl_kedro.spherical.sphere import (
    SamplingPlan,
    pixel_directions,
    rotation,
    rotation_plan,
    sampling_plan,
)

SIZE, VIEW, SIDE, FIELD_DEG = (512, 1024), (512, 512), 256, 90.0
YAW_DEG, PITCH_DEG, ROLL_DEG = 40.0, 35.0, 20.0
BATCH = 8


def function(directions: Tensor) -> Tensor:
    """A smooth function on the sphere with values of about -1 to 1, (..., 3)."""
    x, y, z = (directions / directions.norm(dim=-1, keepdim=True)).unbind(-1)
    return torch.stack([x * y + 0.5 * z, z * z - 0.3 * x + 0.2 * y * z, y * z + 0.4 * x], dim=-1)


def panorama() -> Tensor:
    """The function at the pixels' centres, float32 (1, 3, H, W)."""
    return function(pixel_directions(*SIZE)).permute(2, 0, 1)[None].float()


def axes(theirs: np.ndarray) -> Tensor:
    """Directions of py360convert (right, up, ahead) in our axes (ahead, right, up)."""
    return torch.from_numpy(theirs.astype(np.float64))[..., [2, 0, 1]]


def picture(panoramas: Tensor) -> np.ndarray:
    """(H, W, 3), as py360convert takes it."""
    return np.ascontiguousarray(panoramas[0].permute(1, 2, 0).numpy())


def their_rotation(matrix: Tensor) -> EquirecSampler:
    """A sampler of py360convert that rotates as :func:`rotation_plan`; it has none by itself."""
    grid = uv2unitxyz(np.stack(equirect_uvgrid(*SIZE), axis=-1))
    turned = (axes(grid) @ matrix).float().numpy()[..., [1, 2, 0]]
    u, v = xyz2uv(turned)
    return EquirecSampler(*uv2coor(u, v, *SIZE), order=1)


def sampled_by(sampler: EquirecSampler, image: np.ndarray) -> np.ndarray:
    """All channels, (h, w, 3)."""
    return np.stack([sampler(image[..., channel]) for channel in range(3)], axis=-1)


def largest(found: np.ndarray | Tensor, directions: Tensor) -> float:
    """Largest difference of values (..., 3) from the function in these directions."""
    values = torch.as_tensor(np.asarray(found))
    return float((values.double() - function(directions)).abs().max())


def planned(plan: SamplingPlan, panoramas: Tensor) -> Tensor:
    """Values (..., 3) of one panorama."""
    return plan(panoramas)[0].movedim(0, -1)


def view_directions() -> Tensor:
    """Directions of py360convert's pixels in one viewport."""
    field, yaw, pitch = np.radians([FIELD_DEG, -YAW_DEG, PITCH_DEG])
    return axes(their_viewport(field, field, yaw, pitch, VIEW, 0.0))


def compare_accuracy() -> None:
    """Largest errors of both, on their own grids and on the same."""
    seen, matrix = panorama(), rotation(YAW_DEG, PITCH_DEG, ROLL_DEG)
    image = picture(seen)
    their_view = e2p(image, FIELD_DEG, YAW_DEG, PITCH_DEG, VIEW)
    cube = axes(their_cube(SIDE).copy())
    their_faces = e2c(image, SIDE, cube_format="horizon")
    rotated = pixel_directions(*SIZE) @ matrix
    rows = {
        "identity": (
            largest(planned(rotation_plan(rotation(), SIZE), seen), pixel_directions(*SIZE)),
            largest(sampled_by(their_rotation(rotation()), image), pixel_directions(*SIZE)),
        ),
        "rotation": (
            largest(planned(rotation_plan(matrix, SIZE), seen), rotated),
            largest(sampled_by(their_rotation(matrix), image), rotated),
        ),
        "viewport": (
            largest(planned(sampling_plan(view_directions(), SIZE), seen), view_directions()),
            largest(their_view, view_directions()),
        ),
        "cube": (
            largest(planned(sampling_plan(cube, SIZE), seen), cube),
            largest(their_faces, cube),
        ),
    }
    print(f"largest error on a smooth function, {SIZE[0]} x {SIZE[1]}")
    print(f"  {'':24s}{'ours':>12s}{'py360convert':>14s}")
    for name, (ours, theirs) in rows.items():
        print(f"  {name:24s}{ours:12.1e}{theirs:14.1e}")


def interleaved_ms(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, taken turn by turn after one round of warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if at:
                taken[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in taken.items()}


def compare_times(rounds: int) -> None:
    """Milliseconds of one panorama, and of a batch that shares its coordinates."""
    seen, matrix = panorama(), rotation(YAW_DEG, PITCH_DEG, ROLL_DEG)
    image, batch = picture(seen), seen.expand(BATCH, -1, -1, -1).contiguous()
    view_plan = sampling_plan(view_directions(), SIZE)
    turn_plan, their_turn = rotation_plan(matrix, SIZE), their_rotation(matrix)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "rotation, fresh": (
            lambda: rotation_plan(matrix, SIZE)(seen),
            lambda: sampled_by(their_rotation(matrix), image),
        ),
        f"rotation, again, {BATCH} panoramas": (
            lambda: turn_plan(batch),
            lambda: [sampled_by(their_turn, image) for _ in range(BATCH)],
        ),
        f"viewport, again, {BATCH} panoramas": (
            lambda: view_plan(batch),
            lambda: [e2p(image, FIELD_DEG, YAW_DEG, PITCH_DEG, VIEW) for _ in range(BATCH)],
        ),
    }
    print(f"\nmedian ms, {SIZE[0]} x {SIZE[1]} to {VIEW[0]} x {VIEW[1]}")
    print(f"  {'':32s}{'ours':>9s}{'py360convert':>14s}{'theirs / ours':>15s}")
    for name, (ours, theirs) in pairs.items():
        found = interleaved_ms({"ours": ours, "theirs": theirs}, rounds)
        ratio = found["theirs"] / found["ours"]
        print(f"  {name:32s}{found['ours']:9.1f}{found['theirs']:14.1f}{ratio:15.2f}")


def main() -> None:
    """Print errors, then times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(chosen.threads)
    compare_accuracy()
    compare_times(chosen.rounds)


if __name__ == "__main__":
    main()

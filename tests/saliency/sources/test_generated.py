from __future__ import annotations

import math
import time

import numpy as np
import pytest

from saliency.scoring_for_tests import score
from ssl_kedro.saliency.baselines import equator_prior
from ssl_kedro.saliency.sources.config import SourceConfig
from ssl_kedro.saliency.sources.generated import (
    DISTRACTORS,
    SALIENT,
    GeneratedPanoramas,
    SceneObject,
    draw_object,
)
from ssl_kedro.spherical.sphere import pixel_directions, pixel_solid_angles

SIZE = (40, 80)


def source(seed: int = 0) -> GeneratedPanoramas:
    return GeneratedPanoramas(
        SourceConfig(count_train=24, count_test=4, count_unlabelled=3, seed=seed)
    )


@pytest.fixture(scope="module")
def priors() -> np.ndarray:
    made = source()
    return equator_prior([made.density(k, *SIZE) for k in range(24)], *SIZE)


def correlation(prediction: np.ndarray, index: int) -> float:
    truth = source().density(index, *SIZE)
    return score(prediction + 1e-9, truth, None, "sphere")["cc"]


def test_splits_and_names() -> None:
    made = source()
    assert made.names[0] == "train_000"
    assert [made.splits.count(s) for s in ("train", "test", "unlabelled")] == [24, 4, 3]
    assert made.saliency(30) is None
    assert made.fixations(30) is None
    assert len(set(made.scenes)) == len(made)


def test_same_seed_same_scenes() -> None:
    for of in (lambda s: s.image(3, *SIZE), lambda s: s.fixations(3).longitude_deg):
        assert np.array_equal(of(source()), of(source()))
        assert not np.array_equal(of(source()), of(source(1)))
    assert not np.array_equal(source().image(0, *SIZE), source().image(1, *SIZE))
    assert source().fingerprint != source(1).fingerprint


def test_density_is_a_density_with_its_peaks_at_what_draws_looks() -> None:
    made = source()
    areas = pixel_solid_angles(160, 320).numpy()
    for index in range(5):
        density = made.density(index, 160, 320)
        assert float((density * areas).sum()) == pytest.approx(1, abs=1e-9)
        things = made.objects(index)
        directions = pixel_directions(160, 320).numpy()
        for thing in things:
            at = np.unravel_index((directions @ thing.direction).argmax(), density.shape)
            if thing.weight > 0.2:
                assert density[at] > 4 / (4 * math.pi)
            assert (thing.weight > 0) == (thing.kind in SALIENT)
            assert thing.kind in SALIENT + DISTRACTORS
        assert sum(thing.weight for thing in things) == pytest.approx(1)


def test_fixations_follow_the_density() -> None:
    made = GeneratedPanoramas(
        SourceConfig(count_train=1, count_test=0), viewers=100, fixations_per_viewer=100
    )
    looks = made.fixations(0)
    assert looks is not None
    height, width = 8, 16
    mass = made.density(0, 160, 320) * pixel_solid_angles(160, 320).numpy()
    expected = mass.reshape(height, 20, width, 20).sum(axis=(1, 3)) * len(looks)
    rows = ((90 - looks.latitude_deg) * height / 180).astype(int).clip(0, height - 1)
    columns = ((looks.longitude_deg + 180) * width / 360).astype(int) % width
    counted = np.zeros((height, width))
    np.add.at(counted, (rows, columns), 1)
    often = expected >= 5
    chi_square = (((counted - expected) ** 2) / expected)[often].sum()
    freedom = often.sum()
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)
    assert looks.viewer.tolist() == np.repeat(np.arange(100), 100).tolist()


def test_only_what_things_are_tells_where_people_look(priors: np.ndarray) -> None:
    made = source()
    found: dict[str, list[float]] = {"perfect": [], "equator": [], "brightness": [], "all": []}
    for index in range(12):
        picture = made.image(index, *SIZE).astype(np.float64)
        luminance = picture.mean(axis=0)
        colourful = np.abs(picture - luminance).max(axis=0)
        found["perfect"].append(correlation(made.density(index, *SIZE), index))
        found["equator"].append(correlation(priors, index))
        found["brightness"].append(correlation(luminance, index))
        found["all"].append(correlation(colourful, index))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    assert means["perfect"] == pytest.approx(1)
    assert means["equator"] < 0.4
    assert means["brightness"] < 0.25
    # Every thing is colourful, also those that draw no looks.
    assert means["all"] < 0.6


def test_an_object_at_the_pole_covers_its_solid_angle() -> None:
    directions = pixel_directions(160, 320).numpy()
    for latitude in (90.0, 0.0, -60.0):
        picture = np.zeros((160, 320, 3), dtype=np.float32)
        thing = SceneObject("disc", 30.0, latitude, 12.0, 0.0, (1.0, 1.0, 1.0))
        draw_object(picture, directions, thing)
        covered = float((picture[..., 0] * pixel_solid_angles(160, 320).numpy()).sum())
        cap = 2 * math.pi * (1 - math.cos(math.radians(12)))
        assert covered == pytest.approx(cap, rel=0.08)


def test_the_seam_is_like_any_other_column() -> None:
    made = source()
    steps, seams = [], []
    for index in range(6):
        picture = made.image(index, 80, 160).astype(np.float64)
        steps.append(np.abs(np.diff(picture, axis=2)).mean())
        seams.append(np.abs(picture[..., 0] - picture[..., -1]).mean())
    assert np.mean(seams) < 2.5 * np.mean(steps)


def test_scenes_are_drawn_in_a_moment() -> None:
    made = source()
    made.image(0, 160, 320)
    began = time.perf_counter()
    made.image(1, 160, 320)
    assert time.perf_counter() - began < 1.0

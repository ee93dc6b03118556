from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from saliency.scoring_for_tests import score, scores_by_mode
from ssl_kedro.saliency.maps import MODES, Mode, resized
from ssl_kedro.saliency.metric import metrics
from ssl_kedro.saliency.panoramas import Fixations
from ssl_kedro.spherical.sphere import pixel_solid_angles

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
H, W = 16, 32


def at_pixels(rows: np.ndarray, columns: np.ndarray, height: int = H) -> Fixations:
    """One fixation at each pixel's centre."""
    degrees = 180 / height
    longitude = (np.asarray(columns) + 0.5) * degrees - 180
    latitude = 90 - (np.asarray(rows) + 0.5) * degrees
    return Fixations(longitude, latitude, np.zeros(len(longitude), np.int64))


def on_the_sphere(count: int, generator: np.random.Generator) -> Fixations:
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, count)))
    return Fixations(generator.uniform(-180, 180, count), latitude, np.zeros(count, np.int64))


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, Fixations, Fixations]:
    """Prediction with many ties, truth, prior, fixations with duplicates, others."""
    generator = np.random.default_rng(seed)
    prediction = generator.integers(0, 6, (H, W)).astype(np.float32)
    truth, prior = generator.random((2, H, W)) ** 3 + 0.01
    rows, columns = generator.integers(0, H, 40), generator.integers(0, W, 40)
    rows[:8], columns[:8] = rows[8:16], columns[8:16]
    others = at_pixels(generator.integers(0, H, 30), generator.integers(0, W, 30))
    return prediction, truth, prior, at_pixels(rows, columns), others


def slow_auc(positives: list[tuple[float, float]], negatives: list[tuple[float, float]]) -> float:
    """Mann-Whitney over all pairs of (value, weight)."""
    won = total = 0.0
    for value, weight in positives:
        for other, other_weight in negatives:
            credit = 1.0 if value > other else 0.5 if value == other else 0.0
            won += weight * other_weight * credit
            total += weight * other_weight
    return won / total


def slow_scores(
    prediction: np.ndarray,
    truth: np.ndarray,
    prior: np.ndarray,
    fixations: Fixations,
    others: Fixations,
    mode: Mode,
) -> dict[str, float]:
    """Every definition pixel by pixel in plain Python."""
    height, width = truth.shape
    if mode == "sphere":
        edges = [math.cos(math.pi * i / height) for i in range(height + 1)]
        weight = [edges[i] - edges[i + 1] for i in range(height)]
    else:
        weight = [
            math.sin(math.pi * min(i, height - 1 - i) / (height - 1)) if mode == "authors" else 1.0
            for i in range(height)
        ]
    pixels = [(i, j) for i in range(height) for j in range(width)]

    def located(found: Fixations) -> list[tuple[int, int]]:
        places = [
            (math.floor((90 - b) / 180 * height), math.floor((a + 180) / 360 * width))
            for a, b in zip(found.longitude_deg, found.latitude_deg, strict=True)
        ]
        return places if mode == "sphere" else sorted(set(places))

    def moments(first: np.ndarray, second: np.ndarray, by: list[float]) -> float:
        whole = sum(by[i] for i, _ in pixels)
        one = sum(by[i] * float(first[i, j]) for i, j in pixels) / whole
        two = sum(by[i] * float(second[i, j]) for i, j in pixels) / whole
        return (
            sum(by[i] * (float(first[i, j]) - one) * (float(second[i, j]) - two) for i, j in pixels)
            / whole
        )

    def distribution(map_: np.ndarray, *, subtract: bool = False) -> dict[tuple[int, int], float]:
        mass = {(i, j): float(map_[i, j]) * weight[i] for i, j in pixels}
        low = min(mass.values()) if subtract else 0.0
        whole = sum(value - low for value in mass.values())
        return {place: (value - low) / whole for place, value in mass.items()}

    where, elsewhere = located(fixations), located(others)
    product = prediction * np.array(weight)[:, None] if mode == "authors" else prediction
    plain = weight if mode == "sphere" else [1.0] * height
    values = {(i, j): float(product[i, j]) for i, j in pixels}
    negatives = [
        (values[place], plain[place[0]])
        for place in pixels
        if mode == "sphere" or place not in where
    ]
    positives = [(values[place], 1.0) for place in where]
    mean = sum(plain[i] * values[i, j] for i, j in pixels) / sum(plain[i] for i, _ in pixels)
    spread = math.sqrt(moments(product, product, plain))
    p, t, b = distribution(prediction), distribution(truth), distribution(prior)
    subtract = mode != "sphere"
    ps, ts = distribution(prediction, subtract=subtract), distribution(truth, subtract=subtract)
    return {
        "auc_judd": slow_auc(positives, negatives),
        "sauc": slow_auc(positives, [(values[place], 1.0) for place in elsewhere]),
        "nss": sum((values[place] - mean) / spread for place in where) / len(where),
        "cc": moments(prediction, truth, weight)
        / math.sqrt(moments(prediction, prediction, weight) * moments(truth, truth, weight)),
        "sim": sum(min(ps[place], ts[place]) for place in pixels),
        "kld": sum(
            t[place] * math.log(t[place] / (p[place] + 2.0**-52)) for place in pixels if t[place]
        ),
        "info_gain": sum(math.log2((p[x] + 2.0**-52) / (b[x] + 2.0**-52)) for x in where)
        / len(where),
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_metric_equals_its_definition_pixel_by_pixel(mode: Mode, seed: int) -> None:
    prediction, truth, prior, fixations, others = example(seed)
    found = score(prediction, truth, fixations, mode, equator_prior=prior, other_fixations=others)
    expected = slow_scores(prediction, truth, prior, fixations, others, mode)
    assert tuple(found) == tuple(metrics())
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-10)


def test_modes_together_equal_modes_alone() -> None:
    prediction, truth, prior, fixations, others = example()
    together = scores_by_mode(
        prediction, truth, fixations, equator_prior=prior, other_fixations=others
    )
    for mode in MODES:
        assert together[mode] == score(
            prediction, truth, fixations, mode, equator_prior=prior, other_fixations=others
        )


def test_nothing_is_mutated() -> None:
    prediction, truth, prior, fixations, others = example()
    arrays = [prediction, truth, prior, fixations.longitude_deg, others.latitude_deg]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False  # writing would raise
    scores_by_mode(prediction, truth, fixations, equator_prior=prior, other_fixations=others)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("value", [0.1, 3, 1e-9])
def test_a_constant_map_tells_nothing(value: float) -> None:
    _, truth, _, fixations, others = example()
    constant = np.full((H, W), value)
    found = scores_by_mode(
        constant, truth, fixations, equator_prior=constant, other_fixations=others
    )
    for mode in ("planar", "sphere"):
        assert found[mode]["auc_judd"] == 0.5
        assert found[mode]["sauc"] == 0.5
        assert found[mode]["nss"] == 0
    for mode in MODES:
        assert found[mode]["cc"] == 0
        assert found[mode]["info_gain"] == 0
    grown = score(np.full((5, 10), value), truth, fixations, "sphere")
    assert (grown["auc_judd"], grown["cc"], grown["nss"]) == (0.5, 0, 0)
    assert score(truth, constant, None)["cc"] == 0


def test_uniform_fixations_see_nothing_in_an_equator_prior() -> None:
    generator = np.random.default_rng(3)
    latitude = 90 - (np.arange(64) + 0.5) * 180 / 64
    prior = np.repeat(np.exp(-0.5 * (latitude / 20) ** 2)[:, None], 128, axis=1)
    found = scores_by_mode(prior, None, [on_the_sphere(400, generator) for _ in range(50)])
    # |latitude| of a direction against that of a pixel: the integral of sin over the quadrant.
    assert found["planar"]["auc_judd"] == pytest.approx(2 / math.pi, abs=0.005)
    assert found["sphere"]["auc_judd"] == pytest.approx(0.5, abs=0.005)
    assert found["sphere"]["nss"] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("mode", MODES)
def test_the_truth_itself_is_perfect(mode: Mode) -> None:
    _, truth, _, _, _ = example()
    found = score(7 * truth, truth, None, mode)
    assert found["cc"] == pytest.approx(1, abs=1e-12)
    assert found["sim"] == pytest.approx(1, abs=1e-12)
    assert found["kld"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_the_scale_of_a_map_does_not_matter(mode: Mode) -> None:
    prediction, truth, prior, fixations, others = example()
    one = score(prediction, truth, fixations, mode, equator_prior=prior, other_fixations=others)
    other = score(
        4096 * prediction,
        truth / 1024,
        fixations,
        mode,
        equator_prior=8 * prior,
        other_fixations=others,
    )
    assert other == pytest.approx(one, rel=1e-12, abs=1e-12)


def test_turning_everything_changes_nothing() -> None:
    prediction, truth, prior, fixations, _ = example()
    turned = Fixations(
        (fixations.longitude_deg + 180 + 90) % 360 - 180, fixations.latitude_deg, fixations.viewer
    )
    maps = [np.roll(map_, W // 4, axis=1) for map_ in (prediction, truth, prior)]
    before = scores_by_mode(prediction, truth, fixations, equator_prior=prior)
    after = scores_by_mode(maps[0], maps[1], turned, equator_prior=maps[2])
    for mode in MODES:
        assert after[mode] == pytest.approx(before[mode], rel=1e-12, nan_ok=True)


def test_several_fixations_in_one_pixel() -> None:
    prediction, _, prior, _, others = example()
    once = at_pixels(np.array([3, 5]), np.array([4, 9]))
    thrice = at_pixels(np.array([3, 3, 3, 5]), np.array([4, 4, 4, 9]))
    given = {"equator_prior": prior, "other_fixations": others}
    for mode in ("planar", "authors"):
        np.testing.assert_equal(
            score(prediction, None, thrice, mode, **given),  # type: ignore[arg-type]
            score(prediction, None, once, mode, **given),  # type: ignore[arg-type]
        )
    first, second = (
        score(prediction, None, at_pixels(np.array([r]), np.array([c])), "sphere", **given)  # type: ignore[arg-type]
        for r, c in ((3, 4), (5, 9))
    )
    found = score(prediction, None, thrice, "sphere", **given)  # type: ignore[arg-type]
    for name in ("auc_judd", "sauc", "nss", "info_gain"):
        assert found[name] == pytest.approx((3 * first[name] + second[name]) / 4)


def test_sets_of_fixations_are_averaged() -> None:
    prediction, truth, prior, fixations, others = example()
    for mode in MODES:
        left, right, both = (
            score(prediction, truth, sets, mode, equator_prior=prior)
            for sets in (fixations, others, [fixations, others, fixations.of(np.zeros(0, int))])
        )
        mean = {name: (left[name] + right[name]) / 2 for name in tuple(metrics())}
        assert both == pytest.approx(mean, nan_ok=True)


def test_what_is_missing_is_not_a_number() -> None:
    prediction, truth, _, fixations, others = example()

    def missing(found: dict[str, float]) -> set[str]:
        return {name for name, value in found.items() if math.isnan(value)}

    of_fixations = {"auc_judd", "sauc", "nss", "info_gain"}
    nobody = fixations.of(np.zeros(0, np.int64))
    for mode in MODES:
        assert missing(score(prediction, truth, None, mode)) == of_fixations
        assert missing(score(prediction, truth, nobody, mode)) == of_fixations
        assert missing(score(prediction, truth, [], mode)) == of_fixations
        assert missing(score(prediction, truth, fixations, mode)) == {"sauc", "info_gain"}
        assert "sauc" in missing(score(prediction, truth, fixations, mode, other_fixations=nobody))
        found = score(prediction, None, fixations, mode, other_fixations=others)
        assert missing(found) == {"cc", "sim", "kld", "info_gain"}
    everywhere = at_pixels(*(part.reshape(-1) for part in np.indices((H, W))))
    assert math.isnan(score(prediction, None, everywhere, "planar")["auc_judd"])


def test_maps_that_cannot_be_scored() -> None:
    prediction, truth, prior, fixations, _ = example()
    with pytest.raises(ValueError, match="neither a truth map nor fixations"):
        score(prediction, None, None)
    with pytest.raises(ValueError, match=r"the prediction has shape \(16, 31\); expected \(h, 2h"):
        score(prediction[:, 1:], truth, None)
    with pytest.raises(ValueError, match=r"the truth map has shape \(1, 16, 32\)"):
        score(prediction, truth[None], None)
    with pytest.raises(ValueError, match="the prediction is zero everywhere"):
        score(np.zeros((H, W)), truth, None)
    with pytest.raises(ValueError, match="the prediction has negative values down to -1"):
        score(prediction - 1, truth, None)
    with pytest.raises(ValueError, match="has type complex"):
        score(prediction + 1j, truth, None)
    for bad in (np.nan, np.inf, -np.inf):
        broken = prior.copy()
        broken[2, 3] = bad
        with pytest.raises(ValueError, match="the equator prior has 1 values that are not finite"):
            score(prediction, truth, fixations, equator_prior=broken)
    with pytest.raises(ValueError, match="mode = 'flat': expected one of planar, sphere, authors"):
        score(prediction, truth, None, "flat")  # type: ignore[arg-type]


def test_a_prediction_takes_the_size_of_the_truth() -> None:
    generator = np.random.default_rng(0)
    small, truth = generator.random((8, 16)), generator.random((H, W))
    fixations = on_the_sphere(50, generator)
    big = resized(small, H, W)
    for mode in MODES:
        assert score(small, truth, fixations, mode, equator_prior=small) == pytest.approx(
            score(big, truth, fixations, mode, equator_prior=big), nan_ok=True
        )


def test_resizing_by_hand() -> None:
    column = np.array([[0.0, 1.0], [2.0, 5.0]])
    # Centres of 4 columns stand a quarter pixel off those of 2; the seam joins last and first.
    np.testing.assert_allclose(
        resized(column, 2, 4), [[0.25, 0.25, 0.75, 0.75], [2.75, 2.75, 4.25, 4.25]]
    )
    np.testing.assert_allclose(resized(column, 4, 2), [[0, 1], [0.5, 2], [1.5, 4], [2, 5]])
    # Halving: the triangle reaches 1/8, 3/8, 3/8, 1/8 of four pixels, edge rows repeated.
    wide = np.array([[1.0, 2.0, 4.0, 8.0]])
    np.testing.assert_allclose(
        resized(wide, 1, 2), [[(8 + 3 * 1 + 3 * 2 + 4) / 8, (2 + 3 * 4 + 3 * 8 + 1) / 8]]
    )


def test_resizing_follows_a_smooth_map_over_the_seam() -> None:
    def smooth(height: int) -> np.ndarray:
        latitude = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
        longitude = (np.arange(2 * height) + 0.5) * np.pi / height - np.pi
        return 2 + np.sin(latitude)[:, None] + np.cos(latitude)[:, None] * np.cos(longitude - 3)

    for before, after in ((64, 96), (64, 256), (128, 40)):
        error = np.abs(resized(smooth(before), after, 2 * after) - smooth(after))
        assert error[5:-5].max() < 0.002
        assert error.max() < 0.02  # at the poles the first and last row are repeated


def test_resizing_keeps_ties_and_nothing_falls_between_samples() -> None:
    flat = np.full((7, 14), 0.1)
    for height in (3, 20):
        assert set(resized(flat, height, 2 * height).flat) == {0.1}
    steps = np.repeat(np.array([0.1, 0.7]), 32)[None].repeat(8, axis=0)
    assert len(np.unique(resized(steps, 8, 640)[:, 30:290])) == 1
    point = np.zeros((64, 128))
    point[31, 77] = 1
    assert resized(point, 8, 16).mean() == pytest.approx(point.mean(), rel=0.05)
    np.testing.assert_array_equal(resized(point, 64, 128), point)
    with pytest.raises(ValueError, match="at least 1 x 1, found 0 x 4"):
        resized(point, 0, 4)


def test_sphere_scores_do_not_depend_on_the_size() -> None:
    """The same densities on grids of two sizes; planar scores would move with the poles."""
    angles = [pixel_solid_angles(height, 2 * height) for height in (60, 120)]
    assert float(angles[0].sum()) == pytest.approx(float(angles[1].sum()))
    found = []
    for height in (60, 120):
        latitude = np.pi / 2 - (np.arange(height) + 0.5) * np.pi / height
        longitude = (np.arange(2 * height) + 0.5) * np.pi / height - np.pi
        along = np.cos(latitude)[:, None] * np.cos(longitude)
        truth, prediction = np.exp(3 * along), np.exp(2 * along + np.sin(latitude)[:, None])
        found.append(score(prediction, truth, on_the_sphere(4000, np.random.default_rng(1))))
    assert found[0] == pytest.approx(found[1], abs=5e-3, nan_ok=True)


# --- Values of the Salient360! toolbox on maps of this kind


@pytest.fixture(scope="module")
def reference() -> dict[str, tuple[dict[str, float], dict[str, np.ndarray]]]:
    inputs = REFERENCE / "saliency_inputs_128x256.npz"
    if not inputs.exists():
        pytest.skip("the reference values are not here")
    values = json.loads((REFERENCE / "saliency_expected.json").read_text())["values"]
    with np.load(inputs) as arrays:
        return {
            name: (
                expected,
                {
                    kind: arrays[f"{name}__{kind}"]
                    for kind in ("pred", "gt", "fix")
                    if f"{name}__{kind}" in arrays
                },
            )
            for name, expected in values.items()
        }


def toolbox_auc(prediction: np.ndarray, fixated: np.ndarray) -> tuple[float, float]:
    """The published loop over thresholds, and the area its trapezoids add to the steps."""
    thresholds = np.sort(prediction[fixated])[::-1]
    count, rest = len(thresholds), int((~fixated).sum())
    above = np.array([(prediction >= threshold).sum() for threshold in thresholds])
    false = np.concatenate([[0], (above - np.arange(1, count + 1)) / rest, [1]])
    true = np.concatenate([[0], np.arange(1, count + 1) / count, [1]])
    return float(np.trapezoid(true, false)), float(false[-2] / (2 * count))


def test_agrees_with_the_toolbox(
    reference: dict[str, tuple[dict[str, float], dict[str, np.ndarray]]],
) -> None:
    latitude = 90 - (np.arange(128) + 0.5) * 180 / 128
    prior = np.repeat(np.exp(-0.5 * (latitude / 20) ** 2)[:, None], 256, axis=1)
    compared = {
        "CC_plain": ("planar", "cc"),
        "NSS": ("planar", "nss"),
        "InfoGain_vs_equator": ("planar", "info_gain"),
        "CC_sinweighted": ("authors", "cc"),
        "SIM_sinweighted": ("authors", "sim"),
        "KLD_gt_given_pred_sinweighted": ("authors", "kld"),
    }
    for name, (expected, arrays) in reference.items():
        fixations = at_pixels(*np.nonzero(arrays["fix"]), 128) if "fix" in arrays else None
        found = scores_by_mode(arrays["pred"], arrays["gt"], fixations, equator_prior=prior)
        for key, (mode, metric) in compared.items():
            if key in expected:
                value = found[mode][metric]  # type: ignore[index]
                assert value == pytest.approx(expected[key], abs=1e-6), (name, key)


def test_auc_differs_from_the_toolbox_by_its_trapezoids(
    reference: dict[str, tuple[dict[str, float], dict[str, np.ndarray]]],
) -> None:
    for name, (expected, arrays) in reference.items():
        if "fix" not in arrays:
            continue
        prediction, fixated = arrays["pred"], arrays["fix"] > 0
        published, surplus = toolbox_auc(prediction, fixated)
        assert published == pytest.approx(expected["AUC_Judd_nojitter"], abs=1e-6), name
        positives, negatives = prediction[fixated], prediction[~fixated]
        exact = (
            (positives[:, None] > negatives).sum() + (positives[:, None] == negatives).sum() / 2
        ) / (len(positives) * len(negatives))
        fixations = at_pixels(*np.nonzero(fixated), 128)
        found = score(prediction, None, fixations, "planar")["auc_judd"]
        assert found == pytest.approx(exact, abs=1e-12), name
        # What is left are ties.
        assert published - surplus == pytest.approx(found, abs=1e-4), name

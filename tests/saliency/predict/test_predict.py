from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ssl_kedro.core.config import ConfigError
from ssl_kedro.saliency.predict import prediction as predict
from ssl_kedro.saliency.predict.files import write_predictions
from ssl_kedro.saliency.predict.inputs import PredictionInputError, found_input
from ssl_kedro.saliency.predict.prediction import (
    PredictConfig,
    Prediction,
    density,
    overlay_shape,
    predictions,
)

WIDTH = 64  # of the networks' images


class Brightness(nn.Module):
    """Map = mean of the channels, halved in size; counts its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.batches: list[tuple[int, ...]] = []
        self.was_training: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(tuple(images.shape))
        self.was_training.append(self.training)
        assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
        grey = images.mean(dim=1, keepdim=True) * self.weight
        return nn.functional.avg_pool2d(grey, 2)


def panorama(path: Path, width: int = 128, level: int = 100, height: int | None = None) -> Path:
    """Grey of one level with a white square in the middle."""
    height = height or width // 2
    pixels = np.full((height, width, 3), level, np.uint8)
    pixels[height // 4 : height // 2, width // 2 : 3 * width // 4] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def video(path: Path, count: int = 12, rate: float = 6, size: tuple[int, int] = (128, 64)) -> Path:
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    for k in range(count):
        file.write(np.full((size[1], size[0], 3), 20 + 10 * k, np.uint8))
    file.release()
    return path


def config(given: Path | str, output: Path | str = "out", **changes: object) -> PredictConfig:
    options = {"batch_size": 4, "device": "cpu", **changes}
    return PredictConfig(input=str(given), output=str(output), **options)  # type: ignore[arg-type]


def test_a_density_integrates_to_one_over_the_sphere() -> None:
    np.testing.assert_allclose(density(np.full((7, 14), 0.3)), 1 / (4 * math.pi), rtol=1e-6)
    values = np.random.default_rng(0).random((30, 60)).astype(np.float32)
    found = density(values)
    total = 0.0
    for row in range(30):
        top, bottom = (math.pi / 2 - (row + k) * math.pi / 30 for k in (0, 1))
        cell = (math.sin(top) - math.sin(bottom)) * 2 * math.pi / 60
        total += cell * math.fsum(found[row].astype(float))
    assert total == pytest.approx(1, abs=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found / found[0, 0], values / values[0, 0], rtol=1e-5)
    for bad in (np.zeros((2, 4)), np.full((2, 4), np.nan), np.array([[1.0, -0.1]])):
        with pytest.raises(ValueError, match="has not been trained, or has diverged"):
            density(bad)


def test_maps_of_a_folder_come_in_order_and_in_batches(tmp_path: Path) -> None:
    levels = {f"{'ab'[k % 2]}/{k}.png": 10 * k + 20 for k in range(10)}
    for name, level in levels.items():
        panorama(tmp_path / name, level=level)
    model = Brightness().train()
    found = list(predictions(model, found_input(str(tmp_path)), config(tmp_path), WIDTH))
    assert all(isinstance(item, Prediction) for item in found)
    assert [item.name for item in found] == sorted(levels)
    assert [shape[0] for shape in model.batches] == [4, 4, 2]
    assert {shape[1:] for shape in model.batches} == {(3, 32, 64)}
    assert model.training and not any(model.was_training)
    for item in found:
        assert isinstance(item, Prediction) and item.frame is None
        assert item.saliency.dtype == np.float32 and item.saliency.shape == (16, 32)
        assert item.saliency[-1, 0] == pytest.approx(levels[item.name] / 255, abs=1e-6)
        assert item.saliency[6, 20] == pytest.approx(1, abs=1e-6)


def test_a_model_that_gives_no_maps_is_refused(tmp_path: Path) -> None:
    path = panorama(tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"maps of shape \(1, 1, h, w\), found \(1, 3, 32, 64\)"):
        list(predictions(nn.Identity(), found_input(str(path)), config(path), WIDTH))


def test_files_of_an_image(tmp_path: Path) -> None:
    path = panorama(tmp_path / "in" / "p.png", width=300)
    output = tmp_path / "out"
    (row,) = write_predictions(Brightness(), config(path, output, overlay_width=200), WIDTH)
    assert sorted(file.name for file in output.iterdir()) == [
        "p_heat_map.png",
        "p_map.npy",
        "p_overlay.jpg",
        "predictions.csv",
    ]
    saved = np.load(output / row.map)
    assert saved.dtype == np.float32 and saved.shape == (16, 32)
    # The square covers 45 degrees of latitude from the equator up and 90 of longitude.
    assert saved[6, 20] / saved[-1, 0] == pytest.approx(255 / 100, rel=1e-5)
    for name in (row.heat_map, row.overlay):
        with Image.open(output / name) as image:
            assert image.size == (200, 100) and image.mode == "RGB"
    with (output / "predictions.csv").open(newline="") as file:
        (written,) = csv.DictReader(file)
    assert written["input"] == "p.png" and written["frames"] == "1"
    assert (written["map"], written["overlay"]) == ("p_map.npy", "p_overlay.jpg")


def test_only_what_is_asked_for_at_the_panoramas_own_size(tmp_path: Path) -> None:
    path = panorama(tmp_path / "in" / "p.png", width=300)
    asked = config(path, tmp_path / "out", outputs=("map",), resolution="panorama")
    (row,) = write_predictions(Brightness(), asked, WIDTH)
    saved = np.load(tmp_path / "out" / row.map)
    assert saved.shape == (150, 300) and row.overlay == row.heat_map == ""
    np.testing.assert_allclose(saved, density(saved), rtol=1e-6)


def test_an_overlay_lies_where_the_picture_is(tmp_path: Path) -> None:
    path = panorama(tmp_path / "in" / "p.png", level=0)
    write_predictions(Brightness(), config(path, tmp_path / "out"), WIDTH)
    drawn = np.asarray(Image.open(tmp_path / "out" / "p_overlay.jpg")).astype(int)
    assert drawn[50:, :40].max() < 40  # black where the map is zero
    assert drawn[24, 80, 0] - drawn[24, 80, 2] > 60  # yellow on the square


def test_a_video(tmp_path: Path) -> None:
    path = video(tmp_path / "in.mp4", count=12, rate=6)
    output = tmp_path / "out"
    (row,) = write_predictions(Brightness(), config(path, output, frames_per_second=3), WIDTH)
    assert row.frames == 6 and row.heat_map == ""
    assert sorted(file.name for file in output.iterdir()) == [
        "in_frames.csv",
        "in_map.npy",
        "in_overlay.mp4",
        "predictions.csv",
    ]
    capture = cv2.VideoCapture(str(output / row.overlay))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert capture.get(cv2.CAP_PROP_FPS) == 3  # 2 s, as the video
    assert capture.get(cv2.CAP_PROP_FRAME_WIDTH) == 128
    maps = np.load(output / row.map, mmap_mode="r")
    assert maps.shape == (6, 16, 32) and maps.dtype == np.float32
    np.testing.assert_allclose(maps, 1 / (4 * math.pi), rtol=0.05)  # frames are of one grey
    with (output / row.times).open(newline="") as file:
        times = list(csv.DictReader(file))
    assert [entry["frame"] for entry in times] == ["0", "2", "4", "6", "8", "10"]
    assert [float(entry["time_s"]) for entry in times] == pytest.approx(
        [k / 3 for k in range(6)], abs=1e-4
    )


def test_frames_of_a_video_are_predicted_for_one_by_one(tmp_path: Path) -> None:
    path = video(tmp_path / "in.mp4", count=6)
    model = Brightness()
    found = list(predictions(model, found_input(str(path)), config(path, overlay_width=64), WIDTH))
    assert [shape[0] for shape in model.batches] == [4, 2]
    for k, item in enumerate(found):
        assert isinstance(item, Prediction) and item.frame is not None
        assert item.frame.number == k and item.frame.pixels.shape == (32, 64, 3)
        assert item.saliency.mean() == pytest.approx((20 + 10 * k) / 255, abs=0.02)


def test_a_video_that_gives_no_frame_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    panorama(folder / "a.png")
    video(folder / "v.mp4")
    monkeypatch.setattr(predict, "taken_frames", lambda *_: iter(()))
    rows = write_predictions(Brightness(), config(folder, tmp_path / "out"), WIDTH)
    assert [(row.input, row.frames) for row in rows] == [("a.png", 1), ("v.mp4", 0)]
    assert "without a frame" in rows[1].skipped


@pytest.mark.parametrize("rate", [None, 5.0])
def test_what_came_before_a_video_breaks_off_is_predicted_for(
    rate: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "in.avi"
    file = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 64))
    for k in range(40):
        file.write(np.full((64, 128, 3), 20 + 5 * k, np.uint8))
    file.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    capture = cv2.VideoCapture(str(path))
    there = sum(1 for _ in iter(capture.grab, False))
    assert 4 < there < 30
    (row,) = write_predictions(
        Brightness(), config(path, tmp_path / "out", frames_per_second=rate), WIDTH
    )
    assert row.frames == (there if rate is None else (there + 1) // 2)
    assert len(np.load(tmp_path / "out" / row.map)) == row.frames and not row.skipped


def test_broken_files_among_good_ones_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    panorama(folder / "a.png")
    panorama(folder / "d.jpg", width=256)
    video(folder / "v.mp4")
    whole = (folder / "d.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) * 4 // 5])  # its header is well
    (folder / "c.png").write_bytes(b"not an image")
    (folder / "w.mp4").write_bytes(b"not a video")
    (folder / "notes.txt").write_text("passed over")
    rows = write_predictions(Brightness(), config(folder, tmp_path / "out"), WIDTH)
    skipped = {row.input: row.skipped for row in rows if not row.frames}
    assert [row.input for row in rows if row.frames] == ["a.png", "d.jpg", "v.mp4"]
    assert set(skipped) == {"b.jpg", "c.png", "w.mp4"}
    assert "truncated" in skipped["b.jpg"] and "not a video" in skipped["w.mp4"]
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert {row["input"] for row in csv.DictReader(file) if row["skipped"]} == set(skipped)


def test_nothing_but_broken_files_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    panorama(folder / "d.jpg", width=256)
    whole = (folder / "d.jpg").read_bytes()
    (folder / "d.jpg").write_bytes(whole[: len(whole) * 4 // 5])
    with pytest.raises(
        PredictionInputError, match=r"no file that can be read: d.jpg \(.*truncated"
    ):
        write_predictions(Brightness(), config(folder, tmp_path / "out"), WIDTH)
    (folder / "d.jpg").write_bytes(b"no image")
    with pytest.raises(PredictionInputError, match=r"no file that can be read: d\.jpg"):
        found_input(str(folder))


def test_inputs_are_checked_before_the_model_runs(tmp_path: Path) -> None:
    model = Brightness()

    def refused(
        given: Path | str | None, pattern: str, output: Path | str = tmp_path / "o"
    ) -> None:
        changed = PredictConfig(input=None if given is None else str(given), output=str(output))
        with pytest.raises(PredictionInputError, match=pattern):
            write_predictions(model, changed, WIDTH)
        assert model.batches == [] and not (tmp_path / "o").exists()

    refused(None, r"predict.input = None: found no path given; .* set predict.input")
    refused(tmp_path / "none.jpg", "no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "a folder without images or videos")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    refused(tmp_path / "a.pdf", "found a .pdf file; expected a panorama or a video")
    folder = tmp_path / "mixed"
    panorama(folder / "good.png")
    panorama(folder / "photo.png", width=160, height=120)
    refused(folder, r"1 that cannot be whole panoramas: photo.png \(160 x 120\).*padded")
    video(folder / "flat.mp4", size=(160, 90))
    refused(folder / "flat.mp4", r"flat.mp4 \(160 x 90\)")
    refused(folder / "good.png", "found a file; expected a folder", tmp_path / "a.pdf")
    (folder / "photo.png").unlink()
    (folder / "flat.mp4").unlink()
    refused(folder, "a folder inside the input", folder / "results")


def test_nearly_two_to_one_is_a_panorama(tmp_path: Path) -> None:
    path = panorama(tmp_path / "in" / "p.png", width=300, height=151)
    (row,) = write_predictions(Brightness(), config(path, tmp_path / "out"), WIDTH)
    assert np.load(tmp_path / "out" / row.map).shape == (16, 32)
    with Image.open(tmp_path / "out" / row.overlay) as image:
        assert image.size == (300, 152)  # even, for videos


def test_turned_photographs_count_the_way_up_they_are_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 128)).save(tmp_path / "turned.jpg", exif=exif)
    assert found_input(str(tmp_path)).images == ("turned.jpg",)


def test_inputs_that_differ_in_their_extension_keep_it(tmp_path: Path) -> None:
    for name in ("p.png", "p.jpg", "q.png"):
        panorama(tmp_path / "in" / name)
    rows = write_predictions(Brightness(), config(tmp_path / "in", tmp_path / "out"), WIDTH)
    assert [row.map for row in rows] == ["p.jpg_map.npy", "p.png_map.npy", "q.png_map.npy"]


def test_a_failing_model_leaves_nothing_half_written(tmp_path: Path) -> None:
    class Failing(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            if len(self.batches) == 2:
                raise RuntimeError("out of memory")
            return super().forward(images)

    path = video(tmp_path / "in.mp4", count=12)
    with pytest.raises(RuntimeError, match="out of memory"):
        write_predictions(Failing(), config(path, tmp_path / "out"), WIDTH)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_network_waits_for_the_reader(tmp_path: Path) -> None:
    first = panorama(tmp_path / "in" / "0.png")
    for k in range(1, 80):
        (tmp_path / "in" / f"{k}.png").write_bytes(first.read_bytes())
    model = Brightness()
    files = found_input(str(tmp_path / "in"))
    coming = predictions(model, files, config(tmp_path), WIDTH)
    next(coming)
    assert len(model.batches) == 1
    coming.close()


def test_configurations_are_checked() -> None:
    with pytest.raises(ConfigError, match="expected one of map, heat_map, overlay"):
        PredictConfig(outputs=("film",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at least one of"):
        PredictConfig(outputs=())
    with pytest.raises(ConfigError, match="frames_per_second = 0"):
        PredictConfig(frames_per_second=0)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(1024, 2048, (1024, 2048)), (2688, 5376, (1024, 2048)), (75, 151, (76, 152))],
)
def test_overlays_have_the_panoramas_size_up_to_a_limit(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    assert overlay_shape(height, width, 2048) == expected

"""The data of chapter 4 in the layouts and with the names of their releases, but small."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from videos import write_video

SHARED = Path(__file__).parents[3] / "shared" / "data"
# Each video and picture has a grey of its own, those that are tested above 200.
TRAIN, TEST, UNLABELLED = (40, 80, 120), (210, 230), (20, 60)
TESTED_FROM = 200


def write_releases(root: Path) -> None:
    """A folder each, called as in the environment ``thesis_chapter4``.

    Three videos of a second and a half and two still panoramas are for training, two videos and
    one still panorama for testing, two panoramas of Salient360! too.
    """
    _vr_eyetracking(root / "vr_eyetracking")
    _sitzmann(root / "sitzmann")
    _salient360(root / "salient360")
    for place, shade in (("pvs_hmem", UNLABELLED[0]), ("youtube360", UNLABELLED[1])):
        write_video(root / place / "video.avi", 25, 10, (96, 48), (shade,) * 3)
    for number in range(3):
        _picture(root / "360_indoor" / f"room_{number}.jpg", 100 + number)


def _vr_eyetracking(root: Path) -> None:
    shades = dict(zip(("001", "002", "003", "004", "005"), TRAIN + TEST, strict=True))
    generator = np.random.default_rng(0)
    for name, shade in shades.items():
        write_video(root / f"videos/{name}.mp4", 15, 10, (96, 48), (shade,) * 3)
        for viewer in ("p001", "p002"):
            path = root / "Gaze_txt_files" / viewer / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            eyes = generator.uniform(0.3, 0.7, (15, 2))
            path.write_text(
                "".join(
                    f"frame,{frame},forward,0.5,0.5,eye,{u:.4f},{v:.4f}\n"
                    for frame, (u, v) in enumerate(eyes, 1)
                )
            )
    (root / "train.txt").write_text("001\n002\n003\n")
    (root / "test.txt").write_text("004\n005\n")


def _sitzmann(root: Path) -> None:
    (root / "vr").mkdir(parents=True)
    generator = np.random.default_rng(1)
    for number, shade in enumerate((50, 90, 240)):
        _picture(root / f"img_files/cubemap_{number:04d}.png", shade)
        runs = np.column_stack([generator.uniform(0.3, 0.7, (20, 2)), np.arange(20) % 4])
        np.save(root / f"vr/cubemap_{number:04d}.npy", runs)
    (root / "train.txt").write_text("cubemap_0000\ncubemap_0001\n")
    (root / "test.txt").write_text("cubemap_0002\n")


def _salient360(root: Path) -> None:
    """Real ones of the release where they are at hand."""
    archive = SHARED / "salient360-mini.tar.xz"
    (root / "HE/SalMaps").mkdir(parents=True)
    for number in (1, 2):
        image = root / f"Stimuli/P{number}.jpg"
        saliency = root / f"HE/SalMaps/SHE{number}.png"
        if archive.exists():
            image.parent.mkdir(exist_ok=True)
            with tarfile.open(archive) as packed:
                for name, path in (("images/{}.jpg", image), ("gt_gray_derived/{}.png", saliency)):
                    file = packed.extractfile(f"salient360-mini/{name.format(number)}")
                    assert file is not None
                    path.write_bytes(file.read())
        else:
            _picture(image, 220)
            _picture(saliency, 220)
    (root / "test.txt").write_text("P1\nP2\n")


def _picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((48, 96), shade, np.uint8)
    pixels[20:28, 40:56] = min(255, shade + 10)
    Image.fromarray(pixels).convert("RGB" if path.suffix == ".jpg" else "L").save(path)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.inputs import image_size
from ssl_kedro.saliency.sources.config import FixationColumns, SourceConfig
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.saliency.sources.files import panorama_size
from ssl_kedro.saliency.sources.folder import FolderPanoramas
from ssl_kedro.saliency.sources.open import open_source


def config(root: Path, **options: object) -> SourceConfig:
    return SourceConfig(source="folder", root=str(root), **options)  # type: ignore[arg-type]


def labelled(picture, text, names: str = "a b c d e", below: str = "") -> None:
    for name in names.split():
        picture(f"{below}images/{name}.jpg")
        picture(f"{below}saliency/{name}.png")
        text(f"{below}fixations/{name}.csv", "lon_deg,lat_deg\n1,2\n")


def test_pairs_by_stem(tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    source = open_source(config(tmp_path))
    assert source.names == tuple("abcde") == source.scenes
    assert sorted(source.splits) == ["test"] + 4 * ["train"]
    assert source.image(0, 8, 16).shape == (3, 8, 16)
    saliency, fixations = source.saliency(0), source.fixations(0)
    assert saliency is not None and saliency.shape == (32, 64) and (saliency == 90).all()
    assert fixations is not None and fixations.longitude_deg.tolist() == [1]


@pytest.mark.parametrize("missing", ["saliency", "fixations"])
def test_one_of_the_label_folders_is_enough(missing: str, tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    source = open_source(config(tmp_path))
    assert (source.saliency(0) is None) == (missing == "saliency")
    assert (source.fixations(0) is None) == (missing == "fixations")


def test_every_file_without_a_partner_is_named_both_ways(tmp_path: Path, picture, text) -> None:
    labelled(picture, text, "a b")
    picture("images/alone.jpg")
    picture("saliency/stray.png")
    with pytest.raises(SaliencyDataError) as caught:
        FolderPanoramas(config(tmp_path))
    for expected in (
        "3 files without a partner",
        "images/alone.jpg (not in saliency/)",
        "images/alone.jpg (not in fixations/)",
        "saliency/stray.png (not in images/)",
    ):
        assert expected in str(caught.value)


def test_many_unpaired_files_are_counted(tmp_path: Path, picture) -> None:
    for number in range(23):
        picture(f"images/{number:02d}.jpg", (4, 2))
    (tmp_path / "saliency").mkdir()
    with pytest.raises(SaliencyDataError, match="23 files without a partner") as caught:
        FolderPanoramas(config(tmp_path))
    assert "19.jpg" in str(caught.value) and "and 3 more" in str(caught.value)
    assert "20.jpg" not in str(caught.value)


def test_images_alone_are_unlabelled(tmp_path: Path, picture) -> None:
    picture("one/a.jpg")
    picture("two/a.jpg")
    source = open_source(config(tmp_path))
    assert source.names == ("one/a", "two/a")
    assert set(source.splits) == {"unlabelled"}
    assert source.saliency(0) is None and source.fixations(0) is None


def test_scenes_are_never_split(tmp_path: Path, picture, text) -> None:
    labelled(picture, text, " ".join(f"s{scene}_{view}" for scene in range(6) for view in "ab"))
    made = {
        seed: FolderPanoramas(config(tmp_path, scene_pattern=r"(s\d)_", test_share=0.5, seed=seed))
        for seed in range(5)
    }
    for source in made.values():
        assert len(set(source.scenes)) == 6
        assert source.splits[::2] == source.splits[1::2]
        assert source.splits.count("test") == 6
    assert len({source.splits for source in made.values()}) > 1
    again = FolderPanoramas(config(tmp_path, scene_pattern=r"(s\d)_", test_share=0.5))
    assert again.splits == made[0].splits
    with pytest.raises(SaliencyDataError, match=r"names without a scene: s0_a, s0_b"):
        FolderPanoramas(config(tmp_path, scene_pattern=r"s([1-9])_"))


@pytest.mark.parametrize(("share", "split"), [(0.0, "train"), (1.0, "test")])
def test_all_on_one_side(share: float, split: str, tmp_path: Path, picture, text) -> None:
    labelled(picture, text, "a")
    assert FolderPanoramas(config(tmp_path, test_share=share)).splits == (split,)
    with pytest.raises(SaliencyDataError, match="one scene, a; expected at least two"):
        FolderPanoramas(config(tmp_path))


def test_parts(tmp_path: Path, picture, text) -> None:
    labelled(picture, text, "a b", "train/")
    labelled(picture, text, "a", "test/")
    picture("unlabelled/images/z.jpg")
    source = open_source(config(tmp_path))
    assert source.names == ("train/a", "train/b", "test/a", "unlabelled/z")
    assert source.splits == ("train", "train", "test", "unlabelled")
    assert len(set(source.scenes)) == 4
    with pytest.raises(SaliencyDataError, match="scenes both in train/ and in test/: a"):
        FolderPanoramas(config(tmp_path, scene_pattern="(.)"))


def test_a_part_without_labels(tmp_path: Path, picture) -> None:
    picture("train/images/a.jpg")
    with pytest.raises(SaliencyDataError, match="neither saliency/ nor fixations/"):
        FolderPanoramas(config(tmp_path))


def test_limit_is_of_each_split(tmp_path: Path, picture, text) -> None:
    labelled(picture, text, " ".join("abcdefghij"))
    source = FolderPanoramas(config(tmp_path, test_share=0.5, limit=3))
    assert source.splits.count("train") == source.splits.count("test") == 3
    assert list(source.names) == sorted(source.names)


def test_two_files_of_one_stem(tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    picture("images/a.png")
    with pytest.raises(SaliencyDataError, match=r"a.png: found the same stem as a.jpg"):
        FolderPanoramas(config(tmp_path))


def test_faults_of_roots(tmp_path: Path, text) -> None:
    with pytest.raises(SaliencyDataError, match="nothing there"):
        FolderPanoramas(config(tmp_path / "none"))
    with pytest.raises(SaliencyDataError, match="found a file; expected the folder"):
        FolderPanoramas(config(text("file", "x")))
    with pytest.raises(SaliencyDataError, match="no images"):
        FolderPanoramas(config(tmp_path))
    (tmp_path / "saliency").mkdir()
    with pytest.raises(SaliencyDataError, match=r"no such folder.*set images \(now images\)"):
        FolderPanoramas(config(tmp_path))


def test_check_names_all_that_is_wrong(tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    picture("images/a.jpg", (64, 30))
    picture("saliency/b.png", (64, 31))
    (tmp_path / "fixations" / "c.csv").write_text("")
    (tmp_path / "images" / "d.jpg").write_bytes(b"not an image")
    with pytest.raises(SaliencyDataError) as caught:
        open_source(config(tmp_path))
    for expected in (
        "4 files that cannot be used",
        f"{tmp_path / 'images' / 'a.jpg'}: found an image of 64 x 30 px",
        f"{tmp_path / 'saliency' / 'b.png'}: found a map of 64 x 31",
        f"{tmp_path / 'fixations' / 'c.csv'}: found an empty file",
        f"{tmp_path / 'images' / 'd.jpg'}: found an image that cannot be decoded",
    ):
        assert expected in str(caught.value)


def test_check_decodes_no_image(tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    noise = np.random.default_rng(0).integers(0, 255, (64, 128, 3), np.uint8)
    path = picture("images/a.jpg", value=noise)
    path.write_bytes(path.read_bytes()[:-1000])
    source = open_source(config(tmp_path))
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: cannot be decoded"):
        source.image(0, 8, 16)


def test_sizes_of_panoramas(tmp_path: Path, picture, text) -> None:
    labelled(picture, text, "a b")
    options = {"test_share": 0.5}
    for size in ((65, 32), (63, 32), (64, 32)):  # one pixel of rounding is none of content
        picture("images/a.jpg", size)
        assert open_source(config(tmp_path, **options)).image(0, 8, 16).shape == (3, 8, 16)
    for size in ((66, 32), (62, 32), (32, 64)):
        picture("images/a.jpg", size)
        with pytest.raises(SaliencyDataError, match=f"an image of {size[0]} x {size[1]} px"):
            open_source(config(tmp_path, **options))
        with pytest.raises(UnreadableImageError, match="not a panorama"):
            FolderPanoramas(config(tmp_path, **options)).image(0, 8, 16)
    picture("images/a.jpg", (64, 64))
    with pytest.raises(SaliencyDataError, match="a stereo panorama"):
        open_source(config(tmp_path, **options))


def test_a_panorama_that_was_taken_sideways(tmp_path: Path, picture) -> None:
    path = picture("images/a.jpg", (32, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 64)).save(path, exif=exif)
    assert open_source(config(tmp_path)).image(0, 8, 16).shape == (3, 8, 16)


def test_panoramas_of_all_endings_that_are_listed(tmp_path: Path, picture) -> None:
    endings = ("bmp", "gif", "jpg", "pgm", "png", "tif", "webp")
    for ending in endings:
        picture(f"images/{ending}.{ending}")
    source = open_source(config(tmp_path))
    assert source.names == endings
    for index in range(len(source)):
        assert abs(source.image(index, 8, 16)[0].mean() - 90) < 30


def test_too_many_pixels(tmp_path: Path, picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameter decides, above and below Pillow's own limit, by the header alone."""
    path = picture("images/a.jpg", (64, 32))
    for own_limit in (100, 10**9):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own_limit)
        assert open_source(config(tmp_path, max_megapixels=0.002048)).image(0, 8, 16).any()
        with pytest.raises(SaliencyDataError, match=r"64 x 32 px.*at most 0\.002 million") as found:
            open_source(config(tmp_path, max_megapixels=0.002))
        assert str(path) in str(found.value)


@pytest.mark.parametrize("size", [(64, 32), (32, 64)])
def test_looking_at_a_png_does_not_decode_it(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a file of a few kilobytes could fill the memory before its size is looked at."""
    path = tmp_path / "a.png"
    Image.new("RGB", size).save(path)

    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    assert panorama_size(path) == image_size(path) == size


def test_images_are_antialiased(tmp_path: Path) -> None:
    """Columns of black and white become grey, where taking pixels would keep one of them."""
    (tmp_path / "images").mkdir()
    values = np.zeros((256, 512, 3), np.uint8)
    values[:, ::2] = 255
    Image.fromarray(values).save(tmp_path / "images" / "a.png")
    found = open_source(config(tmp_path)).image(0, 8, 16)
    assert np.abs(found.astype(int) - 127.5).max() < 4


def test_fingerprint_changes_with_the_files(tmp_path: Path, picture, text) -> None:
    labelled(picture, text)
    first = FolderPanoramas(config(tmp_path)).fingerprint
    assert FolderPanoramas(config(tmp_path)).fingerprint == first
    assert FolderPanoramas(config(tmp_path, test_share=0.4)).fingerprint != first
    (tmp_path / "fixations" / "a.csv").write_text("lon_deg,lat_deg\n1,2\n3,4\n")
    assert FolderPanoramas(config(tmp_path)).fingerprint != first


AVTRACK = {
    "images": "images_2to1",
    "saliency": "head_saliency",
    "fixations": "head_fixations",
}


def test_avtrack360_reads_by_parameters(avtrack360_folder: Path) -> None:
    source = open_source(config(avtrack360_folder, **AVTRACK))
    assert source.names == tuple(f"{number:02d}" for number in range(1, 13))
    assert source.splits.count("test") == 2
    viewers, total = set(), 0
    for index in range(len(source)):
        fixations, saliency = source.fixations(index), source.saliency(index)
        assert fixations is not None and saliency is not None
        assert saliency.shape == (512, 1024)
        viewers |= set(fixations.viewer.tolist())
        total += len(fixations)
    assert (len(viewers), total) == (48, 77435 - 12)  # lines of the files without headers
    assert source.image(3, 160, 320).shape == (3, 160, 320)


def test_avtrack360_by_its_pixels_agrees_with_its_degrees(avtrack360_folder: Path) -> None:
    columns = FixationColumns(x="x_1024", y="y_512", width_px=1024, height_px=512)
    degrees = FolderPanoramas(config(avtrack360_folder, **AVTRACK)).fixations(0)
    pixels = FolderPanoramas(config(avtrack360_folder, columns=columns, **AVTRACK)).fixations(0)
    assert degrees is not None and pixels is not None
    difference = np.abs(degrees.longitude_deg - pixels.longitude_deg)
    assert np.minimum(difference, 360 - difference).max() <= 180 / 1024 + 1e-9
    assert np.abs(degrees.latitude_deg - pixels.latitude_deg).max() <= 90 / 512 + 1e-9


def test_avtrack360_maps_are_where_its_fixations_are(avtrack360_folder: Path) -> None:
    """The published map at fixations against the map everywhere: axes and signs are right."""
    source = FolderPanoramas(config(avtrack360_folder, **AVTRACK))
    for index in range(len(source)):
        fixations, saliency = source.fixations(index), source.saliency(index)
        assert fixations is not None and saliency is not None
        row = np.minimum((90 - fixations.latitude_deg) / 180 * 512, 511).astype(int)
        column = ((fixations.longitude_deg + 180) / 360 * 1024).astype(int) % 1024
        assert saliency[row, column].mean() > 4 * saliency.mean()
        assert saliency[row, 1023 - column].mean() < saliency[row, column].mean()

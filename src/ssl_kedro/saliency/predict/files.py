"""Predictions as files: maps, heat maps, overlays, videos, and a table of what was written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from io import BytesIO
from itertools import chain, groupby
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from torch import nn

from ssl_kedro.core.ahead import computed_ahead
from ssl_kedro.core.files import replaced_file, storage_told
from ssl_kedro.core.progress import progress_bar
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.saliency.predict.budget import gated_encoder
from ssl_kedro.saliency.predict.inputs import (
    PanoramaFiles,
    PredictionInput,
    PredictionInputError,
    Unpredicted,
    found_input,
    image_size,
    nothing_readable,
)
from ssl_kedro.saliency.predict.overlays import heat_map, overlay, resized_map
from ssl_kedro.saliency.predict.prediction import (
    PredictConfig,
    Prediction,
    density,
    overlay_shape,
    predictions,
)
from ssl_kedro.saliency.predict.video_files import write_video
from ssl_kedro.saliency.predict.written import Written, write_table

SUMMARY = "predictions.csv"
# Ends of the names of an image's files, by what is asked for.
_OF_IMAGE = {"map": "_map.npy", "heat_map": "_heat_map.png", "overlay": "_overlay.jpg"}
# Encoding a large overlay takes as long as predicting it: two threads keep up with most networks.
_WRITERS = 2
_JPEG_QUALITY = 92


def write_predictions(model: nn.Module, config: PredictConfig, width: int) -> list[Written]:
    """Predict for an image, a video or a folder, and write what the configuration asks for.

    ``a/b.jpg`` becomes ``a/b_map.npy``, ``a/b_heat_map.png`` and ``a/b_overlay.jpg`` in the
    output folder, ``c.mp4`` becomes ``c_map.npy``, ``c_overlay.mp4`` and ``c_frames.csv``;
    where two inputs differ in their extension only, all names keep theirs. Existing files of
    these names are replaced. ``predictions.csv`` lists the files, and inputs left out.

    Args:
        model: images float (N, 3, H, W) in [0, 1] to maps (N, 1, h, w) in (0, 1).
        config: what to read and write.
        width: of the images that the model is given, in px, even; they are half as high.

    Returns:
        The rows of ``predictions.csv``: images, videos, then what was broken from the start.

    Raises:
        PredictionInputError: an input that cannot be predicted for (before the model runs),
            an output folder inside it, or not one file that could be decoded.
        ValueError: the model gives something else than a map an image.
        OSError: a file cannot be written.
    """
    files = found_input(config.input, config.max_megapixels)
    _check_output(files, config)
    output = Path(config.output).expanduser()
    with storage_told(output):
        output.mkdir(parents=True, exist_ok=True)
    rows: list[Written] = []
    gated = gated_encoder(model)
    dense = None if gated is None else float(gated.dense_macs(width // 2, width))
    with (
        closing(predictions(model, files, config, width)) as found,
        progress_bar(len(files.images) + len(files.videos), "predicting", "files") as bar,
    ):
        tasks = _tasks(found, files, config, output, dense)
        done = computed_ahead(lambda task: task() if callable(task) else task, tasks, _WRITERS, 2)
        for row in done:
            rows.append(row)
            bar.update()
    rows += [Written(broken.name, skipped=broken.reason) for broken in files.broken]
    if not any(row.frames for row in rows):
        raise nothing_readable(config.input, [Unpredicted(row.input, row.skipped) for row in rows])
    rows = [row.readable() for row in rows]
    write_table(output / SUMMARY, [asdict(row) for row in rows])
    return rows


def _check_output(files: PredictionInput, config: PredictConfig) -> None:
    output, root = Path(config.output).expanduser().resolve(), files.root.resolve()
    given = Path(config.input or "").expanduser()
    refused = partial(PredictionInputError, "output", config.output)
    if given.is_dir() and (output == root or root in output.parents):
        raise refused(
            f"a folder inside the input {config.input!r}",
            "one outside, since the next run would take these overlays for panoramas",
            "set predict.output to another folder",
        )
    if output.exists() and not output.is_dir():
        raise refused("a file", "a folder", "set predict.output to another name")


def _stems(names: Sequence[str]) -> dict[str, str]:
    """Begin of the output names of each input, without its extension where that is enough."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    # Compared without case, for file systems that do not tell it apart.
    alone = len({stem.casefold() for stem in stems.values()}) == len(names)
    return stems if alone else {name: name for name in names}


def _tasks(
    found: Iterator[Prediction | Unpredicted],
    files: PredictionInput,
    config: PredictConfig,
    output: Path,
    dense: float | None,
) -> Iterator[Written | Callable[[], Written]]:
    """What writes an image's files, and the rows of videos, whose files are written here.

    ``dense`` is what a frame costs the dense branch of a gated encoder.
    """
    stems = _stems(files.images + files.videos)
    for name, group in groupby(found, key=lambda item: item.name):
        first, path = next(group), files.root / name
        if isinstance(first, Unpredicted):
            yield Written(name, skipped=first.reason)
        elif first.frame is None:
            yield partial(_write_image, first, path, config, output, stems[name])
        else:
            frames = chain([first], group)  # noqa: B031  goes on after the first
            yield write_video(name, frames, path, config, output, stems[name], dense)


def _write_image(
    found: Prediction, path: Path, config: PredictConfig, output: Path, stem: str
) -> Written:
    """All files of one image, or in the row why there are none."""
    try:
        width, height = image_size(path)
        size = overlay_shape(height, width, config.overlay_width)
        picture = None
        if "overlay" in config.outputs:
            photograph = PanoramaFiles([path], [found.name], config.max_megapixels)
            picture = photograph.picture(0, *size)
    except UnreadableImageError as error:  # readable at a reduced scale, or changed meanwhile
        return Written(found.name, skipped=str(error))
    names = {kind: f"{stem}{_OF_IMAGE[kind]}" for kind in config.outputs}
    saliency = found.saliency
    for kind, name in names.items():
        with replaced_file(output / name) as temporary, temporary.open("wb") as file:
            if picture is not None and kind == "overlay":
                drawn = overlay(picture, saliency, config.opacity)
                file.write(_encoded(drawn, "JPEG", quality=_JPEG_QUALITY))
            elif kind == "heat_map":
                file.write(_encoded(heat_map(saliency, *size), "PNG"))
            else:
                whole = config.resolution == "panorama"
                values = resized_map(saliency, height, width) if whole else saliency
                np.save(file, density(values), allow_pickle=False)
    return Written(found.name, 1, **names)


def _encoded(picture: np.ndarray, kind: str, **options: int) -> bytes:
    """A picture (3, H, W) as a file of a kind; Pillow does not notice a disk that takes a part."""
    buffer = BytesIO()
    Image.fromarray(picture.transpose(1, 2, 0)).save(buffer, kind, **options)
    return buffer.getvalue()

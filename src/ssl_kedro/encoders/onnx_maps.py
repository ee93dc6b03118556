"""A network in an ONNX file as one of maps: whatever computes features, from wherever."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError, first_line
from ssl_kedro.core.extras import require
from ssl_kedro.encoders.bundled import Normalised
from ssl_kedro.encoders.maps import MapNetwork

_PIXELS = ("pixel_mean", "pixel_std")
_REMEDY = "export the network again, with features or maps as its first output"


class OnnxMaps(Normalised, MapNetwork):
    """Maps (N, C, h, w), or features (N, C) as maps of one place, by ONNX Runtime on the CPU.

    A file that fixes the number of images is run so many times.

    Args:
        path: of the file: one input, images (N, 3, H, W) in float32; of several outputs the first.
        pixel_mean: that the file expects pixels to be normalised by, per channel, in [0, 1].
        pixel_std: the same.

    Raises:
        NotInstalledError: onnx or onnxruntime is not installed.
        InputError: the file is no such network.
    """

    bundle_format = "ssl_kedro onnx maps v1"
    file_digest: Tensor

    def __init__(self, path: Path, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        super().__init__(pixel_mean, pixel_std)
        require(f"reading {path}", "onnx", "onnxruntime")
        import onnx  # noqa: PLC0415  optional
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  optional

        try:
            content = path.read_bytes()
            tensors = onnx.load(path, load_external_data=False).graph.initializer
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the library's own kinds, which have no common base
            raise InputError(
                path, first_line(error), "a network in an ONNX file", _REMEDY
            ) from error
        kinds = onnx.TensorProto
        real = (kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.INT8)
        shapes = [tensor.dims for tensor in tensors if tensor.data_type in real and tensor.dims]
        self._weights: int = sum(math.prod(shape) for shape in shapes)
        # What tells one network from another: its weights are not ours to look at.
        digest = torch.frombuffer(bytearray(hashlib.sha256(content).digest()), dtype=torch.uint8)
        self.register_buffer("file_digest", digest)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, "3") or not outputs:
            found = f"inputs {[(one.name, one.shape) for one in inputs]}"
            raise InputError(path, found, "one input of images (N, 3, H, W)", _REMEDY)
        self._path, self._input, self._output = path, inputs[0].name, outputs[0].name
        self._batch = shape[0] if isinstance(shape[0], int) else None
        self.map_channels = self._channels(outputs[0].shape, shape[2:])

    def description(self) -> dict[str, Any]:
        """Where the file lies and how it expects pixels; a bundle does not hold the file itself."""
        pixels = {name: getattr(self, name).flatten().tolist() for name in _PIXELS}
        return {"file": str(self._path.absolute()), **pixels}

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        with torch.device("cpu"):  # a file may have to be tried to know its channels
            return cls(Path(values["file"]), *(values[name] for name in _PIXELS))

    def make_room(self, weights: Mapping[str, Tensor]) -> None:
        """Refuse a file that is another by now.

        Raises:
            ValueError: it is.
        """
        if not torch.equal(self.file_digest.cpu(), weights["file_digest"]):
            raise ValueError(f"{self._path}: found another file than the one that was described")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: nothing in it is ever changed, and a session cannot be copied."""
        return self

    @property
    def weights(self) -> int:
        """Numbers in the file: all tensors that are real and no scalars."""
        return self._weights

    def _channels(self, promised: Sequence[Any] | None, sides: Sequence[Any]) -> int:
        """C, as the file says it, or else of images of a size that it takes."""
        if promised is not None and len(promised) in (2, 4) and isinstance(promised[1], int):
            return promised[1]
        rows, columns = (side if isinstance(side, int) else 224 for side in sides)
        return int(self(torch.zeros(1, 3, rows, columns)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`MapNetwork`.

        Raises:
            InputError: the file takes no images of this size, or gives neither maps nor features.
        """
        pixels = self.normalised(images).float().cpu().numpy()
        size = self._batch or len(pixels)
        found = np.concatenate(
            [self._run(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        )
        maps = torch.from_numpy(found).to(images.device)
        return maps if maps.ndim == 4 else maps[:, :, None, None]

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """One batch, filled up where the file fixes how many there are."""
        missing = (self._batch or len(pixels)) - len(pixels)
        filled = np.pad(pixels, ((0, missing), (0, 0), (0, 0), (0, 0)))
        try:
            found = np.asarray(self._session.run([self._output], {self._input: filled})[0])
        except Exception as error:  # as above
            expected = f"a file that takes images {pixels.shape}"
            remedy = "set this encoder's image_size, or export it with free sides"
            raise InputError(self._path, first_line(error), expected, remedy) from error
        if found.ndim not in (2, 4) or len(found) != len(filled):
            expected = "maps (N, C, h, w) or features (N, C)"
            raise InputError(self._path, f"an output of shape {found.shape}", expected, _REMEDY)
        return found[: len(pixels)]

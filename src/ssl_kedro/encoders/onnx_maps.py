"""A network in an ONNX file as one of maps: whatever computes features, from wherever."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.bundled import Normalised
from ssl_kedro.encoders.maps import MapNetwork

_REMEDY = "export the network again, with features or maps as its first output"


class OnnxMaps(Normalised, MapNetwork):
    """Maps (N, C, h, w), or features (N, C) as maps of one place, by ONNX Runtime on the CPU.

    Args:
        path: of the file: one input, images (N, 3, H, W) in float32; of several outputs the first.
        pixel_mean: that the file expects pixels to be normalised by, per channel, in [0, 1].
        pixel_std: the same.

    Raises:
        InputError: ONNX Runtime is not installed, or the file is no such network.
    """

    def __init__(self, path: Path, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        super().__init__(pixel_mean, pixel_std)
        try:
            import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  optional
        except ImportError:
            missing = "ONNX Runtime is not installed", "it, to read this file"
            raise InputError(path, *missing, 'pip install "ssl_kedro[export]"') from None
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the library's own kinds, which have no common base
            reason = str(error).splitlines()[0]
            raise InputError(path, reason, "a network in an ONNX file", _REMEDY) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, "3") or not outputs:
            found = f"inputs {[(one.name, one.shape) for one in inputs]}"
            raise InputError(path, found, "one input of images (N, 3, H, W)", _REMEDY)
        self._path, self._input, self._output = path, inputs[0].name, outputs[0].name
        # A side that the file fixes is the only one that it takes.
        side = next((size for size in shape[2:] if isinstance(size, int)), 64)
        self.map_channels = int(self(torch.zeros(1, 3, side, side)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`MapNetwork`.

        Raises:
            InputError: the file takes no images of this size, or gives neither maps nor features.
        """
        pixels = self.normalised(images).float().cpu().numpy()
        try:
            found = np.asarray(self._session.run([self._output], {self._input: pixels})[0])
        except Exception as error:  # as above
            reason = str(error).splitlines()[0]
            expected = f"images as the file takes them, not {tuple(images.shape)}"
            raise InputError(
                self._path, reason, expected, "set this encoder's image_size"
            ) from error
        if found.ndim not in (2, 4) or len(found) != len(pixels):
            expected = "maps (N, C, h, w) or features (N, C)"
            raise InputError(self._path, f"an output of shape {found.shape}", expected, _REMEDY)
        maps = torch.from_numpy(found).to(images.device)
        return maps if maps.ndim == 4 else maps[:, :, None, None]

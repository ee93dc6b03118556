"""Engines of installed packages: ONNX Runtime and OpenVINO, which read the same ONNX file, PyTorch.

PyTorch is there twice, eager in channels_last and compiled with frozen weights.
"""

import copy
import importlib
import importlib.util
import shutil
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import first_line
from ssl_kedro.core.extras import absent, how_to_install
from ssl_kedro.core.precision import Precision
from ssl_kedro.inference.engines.base import BatchEngine, EngineUnavailableError
from ssl_kedro.inference.network import CompactBlock
from ssl_kedro.inference.onnx_file import onnx_session
from ssl_kedro.inference.onnx_graph import compact_onnx
from ssl_kedro.inference.planned import CompactGate, PlannedNetwork
from ssl_kedro.inference.quantisation import quantised_onnx

# Files in int8 of networks that are still in use.
_QUANTISED: WeakKeyDictionary[PlannedNetwork, dict[Hashable, bytes]] = WeakKeyDictionary()


def onnx_bytes(
    network: PlannedNetwork,
    image_size: int,
    *,
    masks: bool = False,
    calibration: np.ndarray | None = None,
) -> bytes:
    """The network as an ONNX file for any batch, with masks as a second input or without.

    Args:
        network: gated, static or dense.
        image_size: side in px.
        masks: whether they are a second input.
        calibration: images of :func:`~ssl_kedro.inference.quantisation.quantised_onnx` for a file
            in int8; None = in float32.

    Raises:
        EngineUnavailableError: onnx, or for int8 onnxruntime, is missing or cannot be imported.
        ValueError: images to calibrate on of another shape or type.
    """
    _imported("onnx")
    if calibration is None:
        return compact_onnx(network, image_size, masks=masks)
    _imported("onnxruntime")
    # Every batch size and every engine asks for the same file, which takes seconds to make.
    weights = tuple((of.data_ptr(), of._version) for of in network.state_dict().values())
    key = (image_size, masks, hash(calibration.tobytes()), weights)
    made = _QUANTISED.setdefault(network, {})
    if key not in made:
        made[key] = quantised_onnx(network, calibration, image_size=image_size, masks=masks)
    return made[key]


class OnnxRuntimeEngine(BatchEngine):
    """ONNX Runtime on the CPU, in the precision of the file: float32 or int8.

    Raises:
        EngineUnavailableError: onnxruntime cannot be imported, or refuses the file.
    """

    def __init__(
        self, file: bytes, batch_size: int, threads: int, precision: Precision = "f32"
    ) -> None:
        super().__init__("onnxruntime", batch_size, precision)
        _imported("onnxruntime")
        try:
            self._session = onnx_session(file, threads)
        except Exception as error:
            raise EngineUnavailableError(f"onnxruntime refuses the network: {error}") from error
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of a batch."""
        feed = dict(zip(self._inputs, _arrays(images, masks), strict=True))
        return torch.from_numpy(self._session.run(None, feed)[0])


class OpenVinoEngine(BatchEngine):
    """OpenVINO on the CPU; its default on newer processors is bfloat16.

    Args:
        file: of a quantised network for int8, of one in float32 for f32 and bf16.
        batch_size: images that are computed at a time.
        threads: that it uses.
        precision: that is asked for; int8 stands in the file, and the rest of that is float32.

    Raises:
        EngineUnavailableError: openvino cannot be imported, or refuses the file.
    """

    def __init__(
        self, file: bytes, batch_size: int, threads: int, precision: Precision = "f32"
    ) -> None:
        super().__init__("openvino", batch_size, precision)
        openvino = _imported("openvino")
        settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        }
        try:
            core = openvino.Core()
            model = core.read_model(file)
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except Exception as error:
            raise EngineUnavailableError(f"openvino refuses the network: {error}") from error

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of a batch."""
        found = self._request.infer(_arrays(images, masks), share_inputs=True, share_outputs=True)
        # The buffer is the request's own and is written again by the next call.
        return torch.from_numpy(np.array(found[0]))


def _arrays(images: Tensor, masks: Tensor | None) -> list[np.ndarray]:
    return [part.float().contiguous().numpy() for part in (images, masks) if part is not None]


def _imported(package: str) -> ModuleType:
    """An optional package; what it lacks itself, e.g. a shared library, is no reason to end."""
    if absent(package):
        raise EngineUnavailableError(f"{package} is not installed: {how_to_install(package)}")
    try:
        return importlib.import_module(package)
    except Exception as error:  # whatever a broken installation raises
        raise EngineUnavailableError(
            f"{package} is installed but cannot be imported ({type(error).__name__}: "
            f"{first_line(error)}); install it again"
        ) from error


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch with so many threads, and afterwards as it was."""
    before = torch.get_num_threads()
    if before == threads:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchEngine(BatchEngine):
    """The module in f32 or bf16, in channels_last, which oneDNN convolves fastest."""

    def __init__(
        self, network: PlannedNetwork, batch_size: int, threads: int, precision: Precision = "f32"
    ) -> None:
        super().__init__("torch eager", batch_size, precision)
        self._threads = threads
        laid_out = copy.deepcopy(network).to(memory_format=torch.channels_last)
        if precision == "bf16":
            _multiply_in_bf16(laid_out)
        self._call: Callable[..., Tensor] = laid_out

    def run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        """Features of a batch."""
        with torch_threads(self._threads):
            images = images.contiguous(memory_format=torch.channels_last)
            return self._call(images) if masks is None else self._call(images, masks)


def _multiply_in_bf16(network: PlannedNetwork) -> None:
    """Convert convolutions and linear layers but those of gates, which decide in float32.

    What transformers add up, and their norms, stay in float32 as well.
    """
    gates = [module for module in network.modules() if isinstance(module, CompactGate)]
    deciding = {layer for gate in gates for layer in gate.modules()}
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module not in deciding:
            module.bfloat16()
        if isinstance(module, CompactBlock) and module.constant is not None:
            module.constant.data = module.constant.data.bfloat16()


class CompiledEngine(TorchEngine):
    """torch.compile with frozen weights, for one shape.

    Raises:
        EngineUnavailableError: no compiler, or the compilation fails.
    """

    def __init__(
        self,
        network: PlannedNetwork,
        batch_size: int,
        threads: int,
        example: tuple[Tensor, ...],
        precision: Precision = "f32",
    ) -> None:
        super().__init__(network, batch_size, threads, precision)
        self.name = "torch compiled"
        if compiled_needs():
            raise EngineUnavailableError(compiled_needs())
        self._call = torch.compile(self._call, dynamic=False, options={"freezing": True})
        try:
            with torch.inference_mode():
                self.run(example[0], example[1] if len(example) > 1 else None)
        except Exception as error:
            raise EngineUnavailableError(f"torch.compile fails: {first_line(error)}") from error


def compiled_needs() -> str:
    """What torch.compile needs and this machine lacks, "" if nothing."""
    compilers = ("g++", "clang++", "c++")
    if importlib.util.find_spec("torch._inductor") and any(map(shutil.which, compilers)):
        return ""
    return "torch.compile needs a C++ compiler, and there is none"

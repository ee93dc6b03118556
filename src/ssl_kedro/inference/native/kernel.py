"""The native kernel behind plain arrays."""

import ctypes
import functools
import os
import threading
import weakref
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ssl_kedro.core.config import Range
from ssl_kedro.encoders.folding import STEMS
from ssl_kedro.inference.engines.base import Engine, EngineUnavailableError
from ssl_kedro.inference.int8 import Int8Network, int8_network
from ssl_kedro.inference.native.build import INSTRUCTION_SETS, INT8_SETS, library_path
from ssl_kedro.inference.network import CompactNetwork
from ssl_kedro.inference.plan import CompactPlan
from ssl_kedro.inference.planned import PlannedNetwork

# The largest images that a source gives; buffers grow with the square.
_SIDE, _THREADS = Range(at_least=1, at_most=1024), Range(at_least=1, at_most=1024)
_FLOATS = ctypes.POINTER(ctypes.c_float)
_INTEGERS = ctypes.POINTER(ctypes.c_int64)
_BYTES = ctypes.POINTER(ctypes.c_int8)
NativePrecision = Literal["f32", "int8"]


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(library_path()))
    except OSError as error:
        raise EngineUnavailableError(
            f"the compiled library cannot be loaded ({error}); remove it to have it compiled again"
        ) from error
    library.gated_available.argtypes = [ctypes.c_int]
    library.gated_create.argtypes = [
        *(_INTEGERS, ctypes.c_int64, _FLOATS, ctypes.c_int64),
        *(ctypes.c_int, ctypes.c_int),
    ]
    library.gated_create.restype = ctypes.c_void_p
    library.gated_int8_available.argtypes = [ctypes.c_int]
    library.gated_create_int8.argtypes = [
        *(_INTEGERS, ctypes.c_int64, _BYTES, ctypes.c_int64, _FLOATS, ctypes.c_int64),
        *(ctypes.c_int, ctypes.c_int),
    ]
    library.gated_create_int8.restype = ctypes.c_void_p
    library.gated_run.argtypes = [
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64),
        *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
    ]
    library.gated_destroy.argtypes = [ctypes.c_void_p]
    library.gated_destroy.restype = None
    return library


def instruction_sets(precision: NativePrecision = "f32") -> tuple[str, ...]:
    """Names of those that this machine has, fastest first; for "int8" there may be none.

    Raises:
        EngineUnavailableError: the kernel cannot be compiled or loaded.
    """
    library = _library()
    if precision == "int8":
        found = [name for i, name in enumerate(INT8_SETS) if library.gated_int8_available(i)]
    else:
        found = [name for i, name in enumerate(INSTRUCTION_SETS) if library.gated_available(i)]
    return tuple(reversed(found))


class NativeNetwork(Engine):
    """A compact network in C++, for square images of one size, any number of them at a time.

    Computes the open channels of each image only. In int8 closed ones of wide blocks may be
    computed and set to 0 where many images are in hand and that is faster.
    Calls from several threads wait for each other: a network has one set of buffers. Its own
    threads do not survive a fork: a process makes its own network.

    Args:
        network: weights are copied. One in int8 is computed as it is.
        image_size: side of the images in px.
        threads: that work on a call.
        instruction_set: "portable", "avx2" or "avx512", in int8 "avx512vnni" or "amx"; None = the
            fastest there is.
        precision: that a compact network is computed in; one in int8 is in any case.
        calibration: images that a compact network is brought to int8 with, uint8 (N, 3, H, W);
            see :func:`~ssl_kedro.inference.int8.int8_network`.

    Raises:
        EngineUnavailableError: no compiler, an instruction set that the machine lacks, no memory,
            or a transformer.
        ValueError: an image size or number of threads below 1 or beyond all use, or int8 without
            calibration.
    """

    def __init__(
        self,
        network: PlannedNetwork | Int8Network,
        image_size: int,
        threads: int = 1,
        instruction_set: str | None = None,
        *,
        precision: NativePrecision = "f32",
        calibration: np.ndarray | None = None,
    ) -> None:
        if not (_SIDE.contains(image_size) and _THREADS.contains(threads)):
            raise ValueError(
                f"image_size = {image_size}, threads = {threads}: expected {_SIDE}, and {_THREADS}"
            )
        if isinstance(network, Int8Network):
            precision = "int8"
        elif not isinstance(network, CompactNetwork):
            raise EngineUnavailableError("the kernel computes residual networks")
        self.instruction_set = _chosen_set(precision, instruction_set)
        if isinstance(network, CompactNetwork) and precision == "int8":
            if calibration is None:
                raise ValueError(
                    "int8 needs calibration images; give some of the training images as uint8 "
                    "(N, 3, H, W)"
                )
            network = int8_network(network, calibration)
        self.name = f"native {self.instruction_set}"
        self.precision = precision
        self.plan = network.plan
        self.image_size = image_size
        self._handle = _created(network, image_size, threads, self.instruction_set)
        if not self._handle:
            raise EngineUnavailableError(
                "the kernel refuses the network: not enough memory, or an unknown shape"
            )
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._end = weakref.finalize(self, _destroy, self._handle, os.getpid())

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Features (N, D); see :meth:`decide`."""
        return self.decide(images, masks)[0]

    def decide(self, images: Tensor, masks: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features (N, D) and the masks (N, dependent) that were applied, 0 or 1, uint8.

        Args:
            images: (N, 3, image_size, image_size) on the CPU, uint8 or float in [0, 1].
            masks: (N, dependent), imposed instead of what the gates decide; uint8 needs no copy.

        Raises:
            RuntimeError: in a forked process, or out of memory.
            ValueError: images or masks of another shape.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "a native network was used in a forked process, where its threads do not run; "
                "make one in that process"
            )
        side = self.image_size
        if images.shape[1:] != (3, side, side) or images.device.type != "cpu":
            raise ValueError(
                f"expected images of shape (N, 3, {side}, {side}) on the CPU, found "
                f"{tuple(images.shape)} on {images.device}; make a network for each size"
            )
        images = images.contiguous()
        if images.dtype != torch.uint8:
            images = images.float()
        if masks is not None:
            if masks.shape != (len(images), self.plan.dependent):
                raise ValueError(
                    f"expected masks of shape ({len(images)}, {self.plan.dependent}), found "
                    f"{tuple(masks.shape)}"
                )
            masks = masks.to("cpu", torch.uint8).contiguous()
        features = torch.empty(len(images), self.plan.feature_dimensions)
        applied = torch.empty(len(images), self.plan.dependent, dtype=torch.uint8)
        with self._lock:
            failed = _library().gated_run(
                self._handle,
                images.data_ptr(),
                int(images.dtype == torch.uint8),
                len(images),
                None if masks is None else masks.data_ptr(),
                features.data_ptr(),
                applied.data_ptr(),
            )
        if failed:
            raise RuntimeError("the native kernel ran out of memory; use a smaller batch")
        return features, applied


def _destroy(handle: int, process: int) -> None:
    # In a fork there are no threads to wait for.
    if os.getpid() == process:
        _library().gated_destroy(handle)


def _chosen_set(precision: NativePrecision, wanted: str | None) -> str:
    names = instruction_sets(precision)
    if not names:
        raise EngineUnavailableError(
            "the kernel computes int8 with AVX-512 VNNI or AMX, and this machine has neither; use "
            "f32, or another engine"
        )
    if wanted is not None and wanted not in names:
        raise EngineUnavailableError(
            f"instruction set {wanted!r} is not there; this machine has {', '.join(names)}"
        )
    return wanted or names[0]


def _created(
    network: CompactNetwork | Int8Network, image_size: int, threads: int, instruction_set: str
) -> int | None:
    """The library's handle of a network; None if it refuses it."""
    shape = np.array(_shape(network.plan, image_size), dtype=np.int64)
    head = (shape.ctypes.data_as(_INTEGERS), len(shape))
    floats = _floats(network)
    tail = (floats.ctypes.data_as(_FLOATS), len(floats), threads)
    handle: int | None
    if isinstance(network, Int8Network):
        weights = _int8_weights(network)
        middle = (weights.ctypes.data_as(_BYTES), len(weights))
        place = list(INT8_SETS).index(instruction_set)
        handle = _library().gated_create_int8(*head, *middle, *tail, place)
    else:
        handle = _library().gated_create(
            *head, *tail, list(INSTRUCTION_SETS).index(instruction_set)
        )
    return handle


def _shape(plan: CompactPlan, image_size: int) -> list[int]:
    """Numbers in the order in which the library reads them; a second layer of -1 is none."""
    if plan.stem == "imagenet_same":
        raise EngineUnavailableError("the kernel pads a stem's pooling on both sides alone")
    kernel, stride, padding = STEMS[plan.stem]
    pooled = int(plan.stem == "imagenet")
    shape = [len(plan.blocks), kernel, stride, padding, pooled, plan.width, image_size, 0]
    for block in plan.blocks:
        layer = block.layers[0]
        shape += [block.in_channels, len(layer.kept), layer.always_on, block.out_channels]
        shape += [block.stride, layer.hidden, int(block.downsample)]
        second = [(len(inner.kept), inner.always_on, inner.hidden) for inner in block.layers[1:]]
        shape += second[0] if second else (-1, 0, 0)
    return shape


def _floats(network: CompactNetwork | Int8Network) -> np.ndarray:
    """All floats one after the other, in the order in which the library reads them.

    Of a compact network these are all weights, in the order of its state: statistics of the
    pixels, stem, then of each block convolutions or constant, shortcut, gate. Of one in int8 they
    are scales and biases that make of sums of integers what comes next.
    """
    if isinstance(network, Int8Network):
        parts = _int8_floats(network)
    else:
        parts = list(network.state_dict().values())
    flat = torch.cat([part.reshape(-1).float() for part in parts])
    return np.ascontiguousarray(flat.numpy())


def _int8_floats(network: Int8Network) -> list[Tensor]:
    scales = network.input_scales()
    # The kernel pools bytes, which take less room than words.
    first = scales[0] if network.plan.stem == "imagenet" else network.word.double()
    parts = [network.pixel_levels]
    parts += [network.stem.scale.double() / first, network.stem.bias.double() / first]
    for block, byte in zip(network.int8_blocks(), scales, strict=True):
        parts += [byte, block.input_factor, block.word]
        word = block.word.double()
        steps = [byte, *(scale.double() for scale in block.inner_scales()), word]
        for conv, given, made in zip(block.convolutions(), steps[:-1], steps[1:], strict=True):
            parts += [conv.scale.double() * given / made, conv.bias.double() / made]
        if block.downsample is not None:
            scale = block.downsample.scale.double() * byte / word
            parts += [scale, block.downsample.bias.double() / word]
        for gate in block.gates():
            parts += list(gate.state_dict().values()) if gate is not None else []
    return parts


def _int8_weights(network: Int8Network) -> np.ndarray:
    parts = [network.stem.weight]
    for block in network.int8_blocks():
        parts += [conv.weight for conv in block.convolutions()]
        if block.downsample is not None:
            parts.append(block.downsample.weight)
    return np.ascontiguousarray(torch.cat([part.reshape(-1) for part in parts]).numpy())

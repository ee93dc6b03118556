"""Errors that a user can mend are printed as one message, not as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import TracebackType

from kedro.framework.hooks import hook_impl

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.files import DamagedFileError
from ssl_kedro.encoders.bundle import BundleError
from ssl_kedro.encoders.importers import WeightsError
from ssl_kedro.hooks.earlier_results import EarlierResultsError
from ssl_kedro.hooks.tracking_config import TrackingConfigError
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.inference.engines.base import EngineUnavailableError
from ssl_kedro.inference.onnx_file import ExportError, ExportNotInstalledError
from ssl_kedro.pipelines.parameters import ParameterError
from ssl_kedro.retrieval.checks import DescriptorError
from ssl_kedro.retrieval.ground_truth.errors import GroundTruthError
from ssl_kedro.saliency.prediction_input import PredictionInputError
from ssl_kedro.saliency.sources.errors import SaliencyDataError
from ssl_kedro.training.batches import BatchSizeError
from ssl_kedro.training.checkpoints import CheckpointError
from ssl_kedro.training.distributed.launch import WorkerError
from ssl_kedro.training.loop import TrainingDiverged

TRACEBACK_VARIABLE = "SSL_KEDRO_TRACEBACK"

_MENDABLE = (
    BatchSizeError,
    BundleError,
    CheckpointError,
    ConfigError,
    DamagedFileError,
    DescriptorError,
    EarlierResultsError,
    EngineUnavailableError,
    ExportError,
    ExportNotInstalledError,
    GroundTruthError,
    ImageSourceError,
    ParameterError,
    PredictionInputError,
    SaliencyDataError,
    TrackingConfigError,
    TrainingDiverged,
    WeightsError,
    WorkerError,
)


class ErrorMessageHook:
    """Shortens what ``kedro run`` prints when the cause is the user's input.

    Wrong parameters, unusable images, a checkpoint of another run or a diverged training
    name key, value and remedy; fifty lines of framework above them hide that. With
    ``SSL_KEDRO_TRACEBACK=1`` the traceback is printed as always. The exception itself is not
    touched: callers of the Python API see it unchanged.
    """

    @hook_impl
    def after_context_created(self) -> None:
        """Wrap the interpreter's handler of uncaught exceptions, once."""
        if os.environ.get(TRACEBACK_VARIABLE) or isinstance(sys.excepthook, _ShortMessages):
            return
        sys.excepthook = _ShortMessages()


class _ShortMessages:
    """An exception hook that falls back to the one it found."""

    def __init__(self) -> None:
        self._fallback = sys.excepthook

    def __call__(
        self,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        message = mendable_message(error)
        if message is None:
            self._fallback(kind, error, traceback)
            return
        sys.stderr.write(
            f"\nError: {message}\n(Set {TRACEBACK_VARIABLE}=1 to see the traceback.)\n"
        )


def mendable_message(error: BaseException) -> str | None:
    """Text of the first error in the chain of causes that a user can mend, else None."""
    for cause in _chain(error):
        if isinstance(cause, _MENDABLE):
            return str(cause)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__

"""A training before it begins, written down so that other processes can do their part of it."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor

from ssl_kedro.augment.config import PanoramaViewConfig, ViewConfig
from ssl_kedro.augment.panorama_views import PanoramaViews
from ssl_kedro.augment.views import RandomViews, SeveralViews
from ssl_kedro.core.config import Config, restored
from ssl_kedro.encoders.bundle import load_encoder, save_encoder
from ssl_kedro.encoders.factory import setup_from_json
from ssl_kedro.methods.base import Method, MethodConfig, Trainable, Views
from ssl_kedro.methods.panorama_contrast import ContrastPlan, PanoramaContrast
from ssl_kedro.methods.plan import MethodPlan, method_classes
from ssl_kedro.training.config import Execution, TrainConfig

# A uint8 batch (N, 3, H, W) and a generator on its device -> its views, float in [0, 1].
DrawnViews = Callable[[Tensor, torch.Generator], Views]
M = TypeVar("M", bound=Trainable)
M_co = TypeVar("M_co", bound=Trainable, covariant=True)
# Trained encoders that a setup may hold.
_ENCODERS = ("teacher", "start")


class Plan(Protocol[M_co]):
    """What is trained, before it is built."""

    def build(self) -> M_co:
        """It with freshly initialised weights, the same in every process."""


@dataclass(frozen=True)
class PlannedTraining(ABC, Generic[M]):
    """One training: all that a process needs to know of it but the images.

    A further kind is a subclass that draws its views, and stands in ``TRAININGS``.

    Args:
        method: what is trained.
        views: recipe of the views.
        recipe: optimiser, epochs, batch size, processes.
        execution: where and how.
        seed: of order, views and noise.
        label: for the progress bar.
        identity: what the run is; see :func:`~ssl_kedro.training.loop.train`.
    """

    method: Plan[M]
    views: Config
    recipe: TrainConfig
    execution: Execution
    seed: int
    label: str
    identity: dict[str, Any]

    @abstractmethod
    def drawn_views(self, method: M) -> DrawnViews:
        """What draws the views that the method takes."""

    def written(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        """Plain values for JSON; networks go to the folder as bundles."""
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, found: dict[str, Any], folder: Path) -> Self:  # noqa: ARG003
        """The training that :meth:`written` wrote."""
        return restored(cls, found)


@dataclass(frozen=True)
class EncoderTraining(PlannedTraining[Method]):
    """Training of an encoder for images by a method; see :class:`PlannedTraining`."""

    method: MethodPlan
    views: ViewConfig

    def drawn_views(self, method: Method) -> DrawnViews:
        """As many random views as the method takes."""
        return SeveralViews(RandomViews(self.views), method.view_count)

    def written(self, folder: Path) -> dict[str, Any]:
        """See :class:`PlannedTraining`."""
        setup = self.method.setup
        given = {role: getattr(setup, role) for role in _ENCODERS}
        given = {role: encoder for role, encoder in given.items() if encoder is not None}
        for role, encoder in given.items():
            save_encoder(encoder, folder / role)
        plan = vars(self.method) | {"setup": setup.as_json()}
        plan |= {"config": dataclasses.asdict(self.method.config), "encoders": list(given)}
        configs = ("views", "recipe", "execution")
        values = {name: dataclasses.asdict(getattr(self, name)) for name in configs}
        return vars(self) | values | {"method": plan}

    @classmethod
    def read(cls, found: dict[str, Any], folder: Path) -> Self:
        """See :class:`PlannedTraining`."""
        plan = dict(found["method"])
        given = {role: load_encoder(folder / role) for role in plan.pop("encoders")}
        setup = setup_from_json(plan["setup"], given.get("teacher"), given.get("start"))
        options = plan["config"].pop("options")
        if options is not None:
            options = restored(method_classes()[plan["name"]].options_type, options)
        config = dataclasses.replace(restored(MethodConfig, plan["config"]), options=options)
        method = MethodPlan(**(plan | {"setup": setup, "config": config}))
        return restored(cls, found | {"method": method})


@dataclass(frozen=True)
class PanoramaTraining(PlannedTraining[PanoramaContrast]):
    """Contrastive pre-training on panoramas; see :class:`PlannedTraining`."""

    method: ContrastPlan
    views: PanoramaViewConfig

    def drawn_views(self, method: PanoramaContrast) -> DrawnViews:  # noqa: ARG002
        """The panorama, and another view of it."""
        return PanoramaViews(self.views)


TRAININGS: dict[str, type[PlannedTraining[Any]]] = {
    kind.__name__: kind for kind in (EncoderTraining, PanoramaTraining)
}

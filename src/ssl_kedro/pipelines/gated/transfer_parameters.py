"""Parameters of evaluations on other data than an encoder was trained on."""

import re
from typing import Self

from pydantic import Field, model_validator

from ssl_kedro.core.config import ConfigError
from ssl_kedro.images.load import DataConfig
from ssl_kedro.pipelines.parameters import Names, PipelineParameters

# Tag of a pipeline that evaluates encoders on other data and has no table of its own for it.
TRANSFER = "transfer"


class TransferParameters(PipelineParameters):
    """Which encoders meet which images.

    Args:
        own: what tables call the run's own data.
        data: further data sets by name; their images are resized to the run's data.size.
        sources: those of ``data`` to pre-train on as well, beside the run's own.
        targets: those of ``data``, or ``own``, to evaluate on; a pair of equals is left out.
    """

    own: str = "own"
    data: dict[str, DataConfig] = Field(default_factory=dict)
    sources: Names = ()
    targets: Names = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for key, name in (("own", self.own), *(("data", name) for name in self.data)):
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ConfigError(
                    key, name, "names of letters, digits, _ and -: they become names of nodes"
                )
        if self.own in self.data:
            raise ConfigError("own", self.own, "a name that transfer.data does not use")
        for field, names, known in (
            ("sources", self.sources, set(self.data)),
            ("targets", self.targets, {self.own, *self.data}),
        ):
            if unknown := sorted(set(names) - known):
                raise ConfigError(field, unknown, f"names among {', '.join(sorted(known))}")
        return self

"""Parameters of ``--tags assemble``."""

from pydantic import Field

from ssl_kedro.pipelines.parameters import PipelineParameters

ASSEMBLE = "assemble"


def data_key(dataset: str) -> str:
    """A data set of the thesis as sources, environments and parameters name it: "cifar10"."""
    return dataset.lower().replace("-", "")


class AssembleParameters(PipelineParameters):
    """Which runs the tables over data sets are made of.

    Args:
        runs: by data set, such as cifar10 or oxford5k, the room of the run that stands for it: a
            folder below ``data/``, as ``cifar10/night``; "base" = ``data/`` itself. Of data sets
            that are not named the latest run on them stands in each table.
    """

    runs: dict[str, str] = Field(default_factory=dict)

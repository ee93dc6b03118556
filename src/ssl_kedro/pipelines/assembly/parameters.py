"""Parameters of ``--tags assemble``."""

from pydantic import Field

from ssl_kedro.pipelines.parameters import PipelineParameters

ASSEMBLE = "assemble"


class AssembleParameters(PipelineParameters):
    """Which runs the tables over data sets are made of.

    Args:
        runs: by data set, in small letters without hyphens, the room of the run that stands for it:
            a folder below ``data/``, as ``cifar10/night``; "base" = ``data/`` itself. Of data sets
            that are not named the latest run on them stands in each table.
    """

    runs: dict[str, str] = Field(default_factory=dict)

"""Parameters of runs on somebody's own images, ``--env own``."""

from typing import Annotated

from pydantic import Field

from ssl_kedro.pipelines.parameters import PipelineParameters


class OwnParameters(PipelineParameters):
    """How a run is planned from the images and the machine.

    Args:
        hours: that the whole run may take on this machine; None = nothing is planned, and
            parameters stand as they are.
        fewest: images that a training is begun with. Of fewer an encoder learns little that one
            trained on other images does not know.
        passes: how often each image is to be seen at least, before a wider network or larger images
            are afforded. A rule of thumb: at 32 px, one seed, a thin network that saw them 56 times
            was three points above a nested one that saw them 29 times in the same seconds
            (docs/results/gates.md).
    """

    hours: Annotated[float | None, Field(gt=0, le=1000)] = None
    fewest: Annotated[int, Field(ge=2, le=1_000_000)] = 500
    passes: Annotated[int, Field(ge=1, le=10_000)] = 60

"""Parameters of ``--tags embed`` and ``--tags find``: a trained encoder put to use."""

from typing import Annotated

from pydantic import Field

from ssl_kedro.encoders.base import Branch
from ssl_kedro.pipelines.gated.recipes import Initial
from ssl_kedro.pipelines.parameters import PipelineParameters

# Tags that embed a folder, and that look for pictures in what was embedded.
EMBED, FIND = "embed", "find"


class EmbedParameters(PipelineParameters):
    """Which images become vectors, and by what.

    Args:
        input: folder of images, at any depth, or one image; also elsewhere (``s3://...``).
        encoder: a bundle's folder, ``file`` and ``kind``, or the catalog name of an encoder; None =
            what earlier runs have left in this room: the one for every budget, else the gated one
            of the middle budget, else the dense one.
        branch: "dense" or "gated"; None = dense, where the encoder has that.
        budget: share of the dense MACs, of an encoder for every budget; None = the whole of it.
        batch_size: images at a time.
        max_skipped: share of files that may be unreadable; more of them end the run.
        index: a faiss factory string, such as "IVF4096,PQ64"; None = exact up to a million images,
            then inverted lists.
    """

    input: str | None = None
    encoder: Initial = None
    branch: Branch | None = None
    budget: Annotated[float, Field(gt=0, le=1)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    max_skipped: Annotated[float, Field(ge=0, le=1)] = 0.01
    index: str | None = None


class FindParameters(PipelineParameters):
    """What is looked for.

    Args:
        query: an image file, or a folder of them.
        count: results of each.
        limit: pictures of a folder that are looked for, at most; the first by name.
        probes: cells of an inverted file that are looked at; more find more, and take longer.
    """

    query: str | None = None
    count: Annotated[int, Field(ge=1, le=200)] = 12
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    probes: Annotated[int, Field(ge=1, le=65_536)] = 16

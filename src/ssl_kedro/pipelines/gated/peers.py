"""What `--tags frontier` trains beside the dense baseline and the gated encoder."""

from itertools import product

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines.gated.graph import FRONTIER, PlannedModel
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.variants import Variant
from ssl_kedro.pipelines.parameters import budget_name, width_name


def planned_peers(
    parameters: EncoderPipelineParameters, pipeline: str, images: str
) -> list[PlannedModel]:
    """Every peer that the run asks for, at its widths or budgets, with every seed.

    Args:
        parameters: of the run.
        pipeline: its key.
        images: catalog name of the images that they are trained on.

    Raises:
        ConfigError: the encoder cannot be so narrow.
    """
    widths = thin_widths(parameters, pipeline)
    return [
        _planned(name, training, repeat, pipeline, images)
        for name, variant in parameters.peers.items()
        if parameters.frontier.compares(name)
        for training, repeat in _trainings(parameters, variant, widths)
    ]


def thin_widths(parameters: EncoderPipelineParameters, pipeline: str) -> tuple[int, ...]:
    """Widths in channels of the networks that are narrower than the run's encoder.

    Raises:
        ConfigError: it cannot be so narrow.
    """
    whole = getattr(parameters.encoder, "width", 0)
    found = parameters.frontier.whole_widths(whole)
    problem = f"{whole} channels are the whole encoder" if whole in found else ""
    try:
        for width in found:
            parameters.encoder.narrowed(width)
    except ConfigError as error:
        problem = str(error)
    if problem:
        shares = list(parameters.frontier.widths)
        what = f"shares of the encoder's width, {whole}, that it can be narrowed to ({problem})"
        raise ConfigError(f"{pipeline}.frontier.widths", shares, what)
    return found


def _trainings(
    parameters: EncoderPipelineParameters, variant: Variant, widths: tuple[int, ...]
) -> list[tuple[Training, int]]:
    """What a variant trains, with the number of the seed."""
    narrow: tuple[int | None, ...] = widths if variant.widths else (None,)
    budgets: tuple[float | None, ...] = parameters.budgets if variant.gated else (None,)
    return [
        (Training(variant.method, budget, parameters.seed + repeat, variant.gates, width), repeat)
        for width, budget, repeat in product(narrow, budgets, range(parameters.repeats))
    ]


def _planned(
    name: str, training: Training, repeat: int, pipeline: str, images: str
) -> PlannedModel:
    """One peer with its names."""
    size = [] if training.width is None else [width_name(training.width)]
    size += [] if training.budget is None else [budget_name(training.budget)]
    of_seed = [f"seed_{training.seed}"] * bool(repeat)
    return PlannedModel(
        pipeline=pipeline,
        key=".".join([name, *size]),
        namespace=".".join([pipeline, *size, name, *of_seed]),
        label="_".join([name, *size, *of_seed]),
        training=training,
        images=images,
        data=pipeline,
        tags=(FRONTIER, name, *size),
        repeat=repeat,
    )

"""What `--tags frontier` trains beside the dense baseline and the gated encoder."""

from collections.abc import Sequence
from itertools import product

from ssl_kedro.core.config import ConfigError
from ssl_kedro.pipelines.gated.graph import FRONTIER, PlannedModel
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.variants import Variant
from ssl_kedro.pipelines.parameters import budget_name, width_name


def planned_peers(
    parameters: EncoderPipelineParameters, models: Sequence[PlannedModel]
) -> list[PlannedModel]:
    """Every peer that the run asks for, at its widths or budgets, with every seed.

    Args:
        parameters: of the run.
        models: the chapter's own, the dense baseline of every seed among them.

    Raises:
        ConfigError: the encoder cannot be so narrow.
    """
    baselines = [m for m in models if m.key == parameters.dense_method and m.own_data]
    widths = thin_widths(parameters, baselines[0].pipeline)
    return [
        _planned(name, variant, training, baseline)
        for name, variant in parameters.peers.items()
        if parameters.frontier.compares(name)
        for baseline in baselines
        for training in _trainings(parameters, variant, widths, baseline.training.seed)
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
    parameters: EncoderPipelineParameters, variant: Variant, widths: tuple[int, ...], seed: int
) -> list[Training]:
    """What a variant trains; students as long as all others, whatever their papers do."""
    narrow: tuple[int | None, ...] = widths if variant.widths else (None,)
    budgets: tuple[float | None, ...] = parameters.budgets if variant.gated else (None,)
    changes = {"epochs": parameters.base_train.epochs} if variant.student else {}
    return [
        Training(variant.method, budget, seed, variant.gates, width, changes)
        for width, budget in product(narrow, budgets)
    ]


def _planned(
    name: str, variant: Variant, training: Training, baseline: PlannedModel
) -> PlannedModel:
    """One peer with its names, beside the dense baseline of its seed."""
    size = [] if training.width is None else [width_name(training.width)]
    size += [] if training.budget is None else [budget_name(training.budget)]
    of_seed = [f"seed_{training.seed}"] * bool(baseline.repeat)
    return PlannedModel(
        pipeline=baseline.pipeline,
        key=".".join([name, *size]),
        namespace=".".join([baseline.pipeline, *size, name, *of_seed]),
        label="_".join([name, *size, *of_seed]),
        training=training,
        images=baseline.images,
        data=baseline.data,
        tags=(FRONTIER, name, *size),
        student={"teacher": f"{baseline.namespace}.encoder"} if variant.student else {},
        repeat=baseline.repeat,
        timed=True,
    )

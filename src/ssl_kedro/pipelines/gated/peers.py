"""What `--tags frontier` and `recipe: best` train beside a chapter's own encoders."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import cast

from ssl_kedro.core.config import ConfigError
from ssl_kedro.encoders.factory import cost_at
from ssl_kedro.encoders.gated_resnet import EncoderConfig
from ssl_kedro.pipelines.gated.graph import COMPARED, FEW_LABELS, FRONTIER, PlannedModel
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.pipelines.gated.variants import Variant
from ssl_kedro.pipelines.parameters import budget_name, width_name
from ssl_kedro.training.optimisers import DECAY_IN_LOSS, decays_in_loss


def planned_peers(
    parameters: EncoderPipelineParameters, models: Sequence[PlannedModel], transfer: str
) -> list[PlannedModel]:
    """Every peer that the run asks for, at its widths or budgets, with every seed.

    The encoder for every budget is fine-tuned and transferred where it is what a run trains.

    Args:
        parameters: of the run.
        models: the chapter's own, the dense baseline of every seed among them.
        transfer: tag of evaluations on other data.

    Raises:
        ConfigError: the encoder cannot be so narrow, not be cut or not be timed, or a peer is what
            it is to be compared with.
    """
    baselines = [m for m in models if m.key == parameters.dense_method and m.own_data]
    pipeline, peers = baselines[0].pipeline, parameters.peers.items()
    several = FRONTIER in baselines[0].tags
    chosen = {
        name: variant
        for name, variant in peers
        if (parameters.frontier.compares(name) if several else name == parameters.for_every_budget)
    } | parameters.further_variants()
    _check_kind(parameters, baselines[0], chosen)
    narrow = any(variant.widths for variant in chosen.values())
    widths = thin_widths(parameters, pipeline) if narrow else ()
    for name, variant in chosen.items():
        if variant.derived:
            _check_cut(parameters, baselines[0], name, variant, widths)
        for field, value in variant.gates.items() if name in parameters.peers else ():
            if getattr(parameters.gates, field) == value:
                what = (
                    f"another, or frontier.models without {name}, which compares it with this one"
                )
                raise ConfigError(f"{pipeline}.gates.{field}", value, what)
    further = () if several else (FEW_LABELS, transfer)
    return [
        replace(model, tags=(*model.tags, *(tag for tag in baseline.tags if tag in further)))
        for name, variant in chosen.items()
        for baseline in baselines
        for model in _of_seed(parameters, name, variant, widths, baseline)
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


def _check_kind(
    parameters: EncoderPipelineParameters, baseline: PlannedModel, chosen: Mapping[str, Variant]
) -> None:
    """Refuse to cut what is no ResNet-18, and name the peers that need no cutting."""
    shape, cut = parameters.encoder, [name for name, of in chosen.items() if of.derived]
    if isinstance(shape, EncoderConfig) or not cut:
        return
    if own := [name for name in cut if name in parameters.frontier.variants]:
        without = f"no frontier.variants.{own[0]}"
    elif FRONTIER in baseline.tags:
        left = ";".join(name for name in chosen if name not in cut) or "none"
        without = f"frontier.models without {', '.join(cut)}: {left}"
    else:
        without = "recipe = authors"
    what = f"a ResNet (resnet18, resnet34, resnet50), which alone can be cut, or {without}"
    raise ConfigError(f"{baseline.pipeline}.encoder.architecture", shape.architecture, what)


def _check_cut(
    parameters: EncoderPipelineParameters,
    baseline: PlannedModel,
    name: str,
    variant: Variant,
    widths: tuple[int, ...],
) -> None:
    """Refuse to cut a ResNet-18 that is narrower or otherwise trained than it can be."""
    shape, pipeline = cast(EncoderConfig, parameters.encoder), baseline.pipeline
    own = f"frontier.variants.{name}" if name in parameters.frontier.variants else ""
    of_run = f"frontier.models without {name}" if FRONTIER in baseline.tags else "recipe = authors"
    without = f"or no {own}" if own else f"or {of_run}"
    if variant.derived == "narrowed":
        config = parameters.method_config(variant.method, options=variant.options)
        smallest = getattr(config.options, "smallest", 0.0)
        if min(widths) < smallest * shape.width:
            options = own if "smallest" in variant.options else f"methods.{variant.method}"
            what = f"shares of at least {smallest}, {options}.options.smallest"
            shares = list(parameters.frontier.widths)
            raise ConfigError(f"{pipeline}.frontier.widths", shares, f"{what}, {without}")
        recipe = parameters.train_config(variant.method, variant.train)
        if not decays_in_loss(recipe):
            key = parameters.recipe_key(variant.method, "optimiser")
            key = f"{own}.train.optimiser" if "optimiser" in variant.train else key
            raise ConfigError(f"{pipeline}.{key}", recipe.optimiser, f"{DECAY_IN_LOSS}, {without}")
        return
    cost = cost_at(shape, parameters.data.size, parameters.gates.reduction)
    least = cost.at([1] * len(cost.blocks))
    key, budgets = _budgets(parameters, variant, baseline)
    if min(budgets) * cost.dense < least:
        what = f"at least {least / cost.dense:.4f}, what one channel a block leaves"
        raise ConfigError(f"{pipeline}.{key}", min(budgets), f"{what}, {without}")


def _budgets(
    parameters: EncoderPipelineParameters, variant: Variant, baseline: PlannedModel
) -> tuple[str, tuple[float, ...]]:
    """Budgets that there is a network for, and where they are set; none for one of no budget."""
    if variant.derived != "budgeted":
        return "budgets", parameters.gated_budgets if variant.gated else ()
    if FRONTIER not in baseline.tags and parameters.budgets:
        return "budgets", parameters.budgets
    return "frontier.budgets", parameters.frontier.budgets


def _of_seed(
    parameters: EncoderPipelineParameters,
    name: str,
    variant: Variant,
    widths: tuple[int, ...],
    baseline: PlannedModel,
) -> Iterator[PlannedModel]:
    """A variant at its widths or budgets, beside the dense baseline of its seed."""
    seed, made_from = baseline.training.seed, baseline.namespace
    if variant.one_for_all:
        training = Training(
            variant.method, None, seed, train=variant.train, options=variant.options
        )
        whole = _planned(name, variant, training, baseline, "")
        made_from = whole.namespace
        yield whole
    narrow: tuple[int | None, ...] = widths if variant.widths else (None,)
    budgets: tuple[float | None, ...] = _budgets(parameters, variant, baseline)[1] or (None,)
    # Students take as many steps as all others, whatever their papers do.
    of_run = {name: getattr(parameters.train, name) for name in ("epochs", "batch_size")}
    changes = {**(of_run if variant.student else {}), **variant.train}
    for width, budget in product(narrow, budgets):
        training = Training(
            variant.method,
            budget,
            seed,
            gates=variant.gates,
            width=width,
            train=changes,
            options=variant.options,
            derived=variant.derived,
        )
        yield _planned(name, variant, training, baseline, made_from if variant.derived else "")


def _planned(
    name: str, variant: Variant, training: Training, baseline: PlannedModel, made_from: str
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
        tags=(*(tag for tag in baseline.tags if tag in COMPARED), name, *size),
        student={"teacher": f"{baseline.namespace}.encoder"} if variant.student else {},
        made_from=made_from,
        repeat=baseline.repeat,
        timed=baseline.timed,
    )

"""Nodes that come before any training: what there is to train on, how to compute, what to beat."""

from ssl_kedro.core.devices import limited_threads, threads_of_each
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.gated.nodes import evaluator, planned_method
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import DataSummary, Training
from ssl_kedro.training.config import Execution
from ssl_kedro.training.execution import choose_execution


def summarise_data(
    pretrain_images: ImageSet, train_images: ImageSet, eval_images: ImageSet
) -> DataSummary:
    """Counts, fingerprints and pixel statistics; fails before any training does."""
    mean, std = pretrain_images.channel_statistics()
    parts = {"pretrain": pretrain_images, "train": train_images, "eval": eval_images}
    skipped = {(file.path, file.reason) for part in parts.values() for file in part.skipped}
    return DataSummary(
        source=train_images.source,
        labelled=train_images.labels is not None and eval_images.labels is not None,
        class_names=tuple(train_images.class_names),
        image_size=int(train_images.images.shape[-1]),
        pixel_mean=mean,
        pixel_std=std,
        images={name: len(part) for name, part in parts.items()},
        fingerprints={name: part.fingerprint() for name, part in parts.items()},
        skipped=tuple(sorted(skipped)),
        passed_over=dict(train_images.passed_over),  # of all parts, which have one root
    )


def select_execution(
    parameters: EncoderPipelineParameters, data: DataSummary, **starts: Encoder
) -> Execution:
    """Device, precision and way of computing that every training of this run shares.

    Encoders that trainings begin with and do not fit are refused here, before the first one.
    """
    training = Training(parameters.gated_method, max(parameters.gated_budgets), 0)
    for start in starts.values():
        planned_method(parameters, data, training, start=start).build()
    method = planned_method(parameters, data, training).build()
    recipe, shape = parameters.train, (3, parameters.view_size, parameters.view_size)
    with limited_threads(threads_of_each(recipe.workers)):
        return choose_execution(method, shape, recipe.of_one_process)


def measure_baselines(
    parameters: EncoderPipelineParameters,
    data: DataSummary,
    train_images: ImageSet,
    eval_images: ImageSet,
) -> dict[str, float]:
    """Chance, raw pixels and a random encoder; empty without labels."""
    if not data.labelled:
        return {}
    training = Training(parameters.dense_method, None, parameters.seed)
    untrained = planned_method(parameters, data, training).build().encoder
    found = evaluator(parameters, train_images, eval_images, parameters.seed)
    return {
        "chance": found.chance(),
        "raw_pixels.knn_top1": found.pixels(),
        "random_init.knn_top1": found.untrained(untrained),
    }

"""Nodes that cut an encoder of another size from a trained one, without training."""

from ssl_kedro.core.config import ConfigError
from ssl_kedro.core.devices import resolved_device
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.gated_resnet import GatedResNet18
from ssl_kedro.encoders.nested_resnet18 import NestedResNet18
from ssl_kedro.encoders.pruning import pruned
from ssl_kedro.encoders.slimmable_resnet18 import SlimmableResNet18
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.pipelines.gated.parameters import EncoderPipelineParameters
from ssl_kedro.pipelines.gated.records import Training
from ssl_kedro.training.loop import some_images


def derive_pruned(
    parameters: EncoderPipelineParameters, encoder: Encoder, images: ImageSet, *, trained: Training
) -> Encoder:
    """The dense encoder without the channels of smallest norm, at most at the cost of the budget.

    Raises:
        ConfigError: an encoder of another kind than ResNet-18.
    """
    if not isinstance(encoder, GatedResNet18) or trained.budget is None:
        raise ConfigError("encoder.architecture", type(encoder).__name__, "resnet18, to be pruned")
    seen = some_images(images.images, trained.seed, parameters.frontier.recalibration)
    # Its cost is reported at the size of whole images, which views may fall short of.
    return pruned(
        encoder,
        trained.budget,
        seen,
        image_size=parameters.data.size,
        device=resolved_device(parameters.train.device),
    )


def derive_narrowed(
    parameters: EncoderPipelineParameters, encoder: Encoder, images: ImageSet, *, trained: Training
) -> Encoder:
    """One width of an encoder that was trained for every width.

    Raises:
        ConfigError: it was not.
    """
    if not isinstance(encoder, SlimmableResNet18) or trained.width is None:
        found = type(encoder).__name__
        raise ConfigError("encoder.architecture", found, "slimmable_resnet18, to be narrowed")
    seen = some_images(images.images, trained.seed, parameters.frontier.recalibration)
    return encoder.at_width(trained.width, seen, device=resolved_device(parameters.train.device))


def derive_budgeted(
    parameters: EncoderPipelineParameters, encoder: Encoder, images: ImageSet, *, trained: Training
) -> Encoder:
    """One budget of an encoder that was trained for every budget.

    Raises:
        ConfigError: it was not.
    """
    if not isinstance(encoder, NestedResNet18) or trained.budget is None:
        found = type(encoder).__name__
        raise ConfigError("encoder.architecture", found, "nested_resnet18, to be cut to a budget")
    seen = some_images(images.images, trained.seed, parameters.frontier.recalibration)
    return encoder.at_budget(
        trained.budget,
        seen,
        image_size=parameters.data.size,
        device=resolved_device(parameters.train.device),
    )


# By how an encoder is cut.
CUTS = {"pruned": derive_pruned, "narrowed": derive_narrowed, "budgeted": derive_budgeted}

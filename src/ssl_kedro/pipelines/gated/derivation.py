"""The node that cuts an encoder of another size from a trained one, without training."""

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

# What is cut in which way.
_FROM: dict[str, tuple[type[GatedResNet18], str]] = {
    "pruned": (GatedResNet18, "resnet18, to be pruned"),
    "narrowed": (SlimmableResNet18, "slimmable_resnet18, to be narrowed"),
    "budgeted": (NestedResNet18, "nested_resnet18, to be cut to a budget"),
}


def derive(
    parameters: EncoderPipelineParameters, encoder: Encoder, images: ImageSet, *, trained: Training
) -> Encoder:
    """A width of an encoder for every width, a budget of one for every budget, or a pruned one.

    Batch norms are re-estimated on training images. A budget is met from below.

    Raises:
        ConfigError: an encoder of another kind.
    """
    kind, expected = _FROM[trained.derived]
    if not isinstance(encoder, kind):
        raise ConfigError("encoder.architecture", type(encoder).__name__, expected)
    size, count = parameters.data.size, parameters.frontier.recalibration
    seen = some_images(images.images, trained.seed, size, count)
    device = resolved_device(parameters.train.device)
    if isinstance(encoder, SlimmableResNet18) and trained.width is not None:
        return encoder.at_width(trained.width, seen, device=device)
    if trained.budget is None:
        raise ValueError(f"{trained.label}: a cut network has a width or a budget")
    # Its cost is reported at the size of whole images, which views may fall short of.
    if isinstance(encoder, NestedResNet18):
        return encoder.at_budget(trained.budget, seen, image_size=size, device=device)
    return pruned(encoder, trained.budget, seen, image_size=size, device=device)

"""Networks of the library timm as ones of maps, with weights from a file of this machine."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_kedro.core.errors import InputError, first_line, nearest
from ssl_kedro.encoders.bundled import Normalised
from ssl_kedro.encoders.maps import MapNetwork


class TimmMaps(Normalised, MapNetwork):
    """A network by its name in timm; pixels are normalised as timm says of it.

    Tokens of a transformer stand where their patches do; class and register tokens are left out.

    Args:
        name: "resnet50", "vit_small_patch16_224", ...
        path: of its weights, under timm's names, with or without a classifier.

    Raises:
        InputError: timm is not installed, has no such network, or the weights are another's.
    """

    network: Any

    def __init__(self, name: str, path: Path) -> None:
        try:
            import timm  # noqa: PLC0415  an optional dependency
        except ImportError:
            missing = "timm is not installed", "it, for this kind"
            raise InputError(path, *missing, 'pip install "ssl_kedro[timm]"') from None
        if name not in (known := timm.list_models()):
            raise InputError("model", repr(name), "a network of timm", nearest(name, known))
        made: Any = timm.create_model(name, num_classes=0)
        super().__init__(made.pretrained_cfg["mean"], made.pretrained_cfg["std"])
        try:
            state = timm.models.load_state_dict(str(path))
        except Exception as error:  # files of any library's making
            raise InputError(path, first_line(error), "weights", "give another file") from error
        head = made.pretrained_cfg.get("classifier") or ()
        heads = tuple(f"{one}." for one in ([head] if isinstance(head, str) else head))
        state = {key: value for key, value in state.items() if not key.startswith(heads)}
        try:
            made.load_state_dict(state)
        except RuntimeError as error:
            expected = f"the weights of timm's {name}"
            raise InputError(
                path, " ".join(str(error).split()), expected, "name its own"
            ) from error
        self.network, self.map_channels = made.eval(), int(made.num_features)

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`MapNetwork`."""
        found: Tensor = self.network.forward_features(self.normalised(images))
        if found.ndim == 4:
            channels_last = found.shape[1] != self.map_channels
            return found.permute(0, 3, 1, 2) if channels_last else found
        patches = found[:, self.network.num_prefix_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.network.patch_embed.grid_size)

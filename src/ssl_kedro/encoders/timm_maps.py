"""Networks of the library timm as ones of maps, with weights from a file of this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from ssl_kedro.core.errors import InputError, first_line, nearest
from ssl_kedro.core.extras import require
from ssl_kedro.encoders.bundled import INPUT, Normalised
from ssl_kedro.encoders.maps import MapNetwork


class TimmMaps(Normalised, MapNetwork):
    """A network by its name in timm; pixels are normalised as timm says of it.

    Tokens of a transformer stand where their patches do; class and register tokens are left out.

    Args:
        name: "resnet50", "vit_small_patch16_224.dino", ...; its tag says how pixels are normalised.
        path: of its weights, under timm's names, with or without a classifier; None = to be
            loaded from a bundle.

    Raises:
        NotInstalledError: timm is not installed.
        InputError: it has no such network, or the weights are another's.
    """

    bundle_format = "ssl_kedro timm maps v1"
    network: Any

    def __init__(self, name: str, path: Path | None) -> None:
        require("kind: timm", "timm")
        import timm  # noqa: PLC0415  optional

        if not timm.is_model(name):
            known = timm.list_models()
            raise InputError("model", repr(name), "a network of timm", nearest(name, known))
        made: Any = timm.create_model(name, num_classes=0)
        super().__init__(made.pretrained_cfg["mean"], made.pretrained_cfg["std"])
        if path is not None:
            self._fill(made, name, path)
        self.network, self.map_channels, self.called = made.eval(), int(made.num_features), name

    @staticmethod
    def _fill(made: Any, name: str, path: Path) -> None:
        """Load a file's weights."""
        import timm  # noqa: PLC0415

        try:
            state = timm.models.load_state_dict(str(path))
        except Exception as error:  # files of any library's making
            raise InputError(path, first_line(error), "weights", "give another file") from error
        head = made.pretrained_cfg.get("classifier") or ()
        heads = {one.split(".")[0] for one in ([head] if isinstance(head, str) else head)}
        kept = made.state_dict().keys()
        state = {k: v for k, v in state.items() if k in kept or k.split(".")[0] not in heads}
        try:
            made.load_state_dict(state)
        except RuntimeError as error:
            expected = f"the weights of timm's {name}"
            raise InputError(
                path, " ".join(str(error).split()), expected, "name its own"
            ) from error

    def description(self) -> dict[str, Any]:
        """Its name in timm, and what readers of the file may want to know."""
        return {"model": self.called, "map_channels": self.map_channels, "input": INPUT}

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> Self:
        """See :class:`~ssl_kedro.encoders.bundled.Bundled`."""
        return cls(values["model"], None)

    def forward(self, images: Tensor) -> Tensor:
        """See :class:`MapNetwork`.

        Raises:
            InputError: the network takes no images of this size, or its features are no grid.
        """
        try:
            found: Tensor = self.network.forward_features(self.normalised(images))
        except Exception as error:  # assertions of the library's
            size = self.network.pretrained_cfg.get("input_size")
            expected = f"images that it takes, made for {size}, not {tuple(images.shape)}"
            remedy = "set this encoder's image_size"
            raise InputError(self.called, first_line(error), expected, remedy) from error
        if found.ndim == 4:
            channels_last = found.shape[1] != self.map_channels
            return found.permute(0, 3, 1, 2) if channels_last else found
        prefix = getattr(self.network, "num_prefix_tokens", 0)
        grid = getattr(getattr(self.network, "patch_embed", None), "grid_size", None)
        if found.ndim != 3 or grid is None or found.shape[1] - prefix != grid[0] * grid[1]:
            expected = "maps, or tokens of patches"
            remedy = "export it to ONNX with features as its output, and use kind: onnx"
            raise InputError(self.called, f"features {tuple(found.shape)}", expected, remedy)
        patches = found[:, prefix:].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *grid)

"""How the maps of one encoder become descriptors, where that is not as for the run's others."""

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import numpy as np

from ssl_kedro.core.config import ConfigError, Range
from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.descriptor_head import PROJECTION, WHITENING, DescriptorHead
from ssl_kedro.encoders.frozen import FrozenEncoderConfig
from ssl_kedro.encoders.importers import KINDS
from ssl_kedro.encoders.importers.kind import Trained
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.retrieval.descriptors import Pooling, PoolingConfig

# Of an encoder in place of the run's pooling and whitening.
RUN, OWN, NONE = "run", "own", "none"


@dataclass(frozen=True)
class DescribedEncoderConfig(FrozenEncoderConfig):
    """An encoder and its descriptors.

    Args:
        pooling: "run" = as the run's others; "own" = GeM with the power in the publisher's file;
            or a kind of pooling.
        whitening: "run" = learnt by the run, as the others'; "own" = the projection and PCA in the
            publisher's file, with all their dimensions; "none" = the vectors as they are.
        whitening_power: of "own": components are divided by their variance to this power: .25 in
            the publisher's evaluation, .5 is whitening proper, 0 none.
        trained: "self-supervised", "supervised", "fine-tuned" or "untrained", for what the report
            compares; "" = as the kind says.
    """

    pooling: Literal["run", "own", Pooling] = "run"
    whitening: Literal["run", "own", "none"] = "run"
    whitening_power: Annotated[float, Range(at_least=0, at_most=1)] = 0.25
    trained: Trained = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pooling", "whitening"):
            if getattr(self, name) == OWN and self.kind not in ("bundle", "gem_ap"):
                expected = f'another than "own" with kind {self.kind}, whose files have none'
                raise ConfigError(name, OWN, expected)

    @property
    def supervision(self) -> Trained:
        """By what it was trained; "" where nobody says."""
        known: dict[str, Trained] = {"random": "untrained", "pixels": "untrained"}
        known |= {"bundle": "self-supervised", **{n: kind.trained for n, kind in KINDS.items()}}
        return self.trained or known.get(self.kind, "")

    def pooling_of(self, run: PoolingConfig, network: MapNetwork) -> PoolingConfig:
        """From maps to vectors.

        Args:
            run: what the run's other encoders have.
            network: whose file may say otherwise.

        Raises:
            InputError: its file says nothing, or has no whitening where its own is asked for.
        """
        head = self.head_of(network)
        if self.pooling == RUN:
            return run
        if self.pooling == OWN:
            return PoolingConfig("gem", power=head.power)
        return PoolingConfig(cast(Pooling, self.pooling), run.levels, run.power)

    def head_of(self, network: MapNetwork) -> DescriptorHead:
        """What the publisher's file has behind the maps, checked for what is asked of it.

        Raises:
            InputError: it has nothing of the kind.
        """
        head = network.head or DescriptorHead(np.nan, {})
        if self.pooling == OWN and network.head is None:
            raise self._absent("power of generalised means (adpool.p)", "pooling")
        if self.whitening == OWN and not head.whitens:
            raise self._absent("PCA of Landmarks_clean", "whitening")
        return head

    def _absent(self, what: str, key: str) -> InputError:
        remedy = f"fetch {KINDS['gem_ap'].file} again, or set {key} of this encoder to run"
        return InputError(self.file or "", f"no {what}", f'one, for {key} "own"', remedy)


def head_arrays(head: DescriptorHead) -> dict[str, np.ndarray]:
    """A publisher's whitening as plain arrays; without a projection that is the identity."""
    mean, components, variances = (head.arrays[name] for name in WHITENING)
    weight, bias = (head.arrays.get(name) for name in PROJECTION)
    return {
        "mean": mean,
        "projection": np.ascontiguousarray(components.T),
        "variances": variances.astype(np.float64),
        "weight": np.eye(len(mean), dtype=np.float32) if weight is None else weight,
        "bias": np.zeros(len(mean), dtype=np.float32) if bias is None else bias,
    }

"""What became of every key of a weight file, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_kedro.core.errors import InputError
from ssl_kedro.encoders.maps import MapNetwork

CHECK_KIND = "check the kind of the file"
_SHOWN = 10
# Of a network, but of no file.
_STATISTICS = ("pixel_mean", "pixel_std")


class WeightsError(InputError):
    """A weight file that is missing, damaged, unsafe, or not what its kind says.

    ``report`` has the keys, where the file could be read that far.
    """

    report: KeyReport | None = None


@dataclass(frozen=True)
class Selection:
    """Tensors chosen from a file.

    Args:
        tensors: name in the network -> value.
        sources: name in the network -> name in the file.
        dropped: name in the file -> why it is not used.
        notes: other values of the file worth keeping, e.g. "gem_p".
        extras: tensors kept apart from the network, e.g. "classifier.weight".
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyReport:
    """Where each tensor of a file went.

    Args:
        kind: as in ``importers.KINDS``.
        publisher: who gives the file out.
        hosted: where.
        files: SHA-256 of every file that was read, by name.
        used: name in the file -> name in the network.
        dropped: see :class:`Selection`.
        missing: names in the network that the file lacks.
        unexpected: names in the file that the network lacks.
        wrong_shapes: name in the network -> (shape in the file, shape needed).
        notes: see :class:`Selection`.
        extras: see :class:`Selection`.
    """

    kind: str
    publisher: str
    hosted: str
    files: Mapping[str, str]
    used: Mapping[str, str]
    dropped: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    notes: Mapping[str, Any]
    extras: Mapping[str, Tensor] = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """All but the extras' values, of a file that fits, in plain types."""
        names = ("kind", "publisher", "hosted", "files", "notes", "extras", "used", "dropped")
        return {name: getattr(self, name) for name in names} | {"extras": sorted(self.extras)}


def fitted(network: MapNetwork, selection: Selection, path: Path, **origin: Any) -> KeyReport:
    """The report on a selection that a network fits.

    Args:
        network: whose names and shapes are needed, except for the pixels' statistics.
        selection: what the file offers.
        path: of the file, for messages.
        origin: kind, publisher, hosted, files.

    Raises:
        WeightsError: it does not fit; names the first keys at fault and counts them.
    """
    state = network.state_dict()
    needed = {n: tuple(value.shape) for n, value in state.items() if n not in _STATISTICS}
    offered = {n: tuple(value.shape) for n, value in selection.tensors.items()}
    # Files older than PyTorch 0.4.1, and TensorFlow's, do not count batches; nothing reads it.
    missing = [n for n in needed if n not in offered and not n.endswith("num_batches_tracked")]
    wrong = [n for n in offered if n in needed and needed[n] != offered[n]]
    report = KeyReport(
        used={selection.sources[n]: n for n in offered if needed.get(n) == offered[n]},
        dropped=selection.dropped,
        missing=tuple(missing),
        unexpected=tuple(selection.sources[n] for n in offered if n not in needed),
        wrong_shapes={n: (offered[n], needed[n]) for n in wrong},
        notes=selection.notes,
        extras=selection.extras,
        **origin,
    )
    faults = {
        "missing": missing,
        "of a wrong shape": [f"{n} {offered[n]} for {needed[n]}" for n in wrong],
        "unexpected": report.unexpected,
    }
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{' ...' * (len(names) > _SHOWN)}"
        for what, names in faults.items()
        if names
    ]
    if parts:
        error = WeightsError(
            path,
            "keys " + "; ".join(parts),
            f"exactly those of kind {report.kind!r}",
            f"check that the file is the one from {report.hosted}, and whole",
        )
        error.report = report
        raise error
    return report


@torch.no_grad()
def fill(network: MapNetwork, selection: Selection, path: Path) -> None:
    """Copy a fitting selection into a network, as float32.

    Raises:
        WeightsError: a value is not finite.
    """
    state = network.state_dict(keep_vars=True)
    for name, value in selection.tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                path,
                f"values that are not finite in {selection.sources[name]}",
                "numbers",
                "fetch the file from its publisher again",
            )
        state[name].copy_(value)

"""What became of every key of a weight file, and what can be wrong with one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_kedro.core.errors import InputError

_SHOWN = 10
_CHUNK = 1 << 20


class WeightsError(InputError):
    """A weight file that is missing, damaged, unsafe, or not what its kind says.

    Args:
        path: of the file.
        found: what was found there.
        expected: what is needed.
        remedy: what to do.
        report: the keys, where the file could be read that far.
    """

    def __init__(
        self,
        path: Path,
        found: str,
        expected: str,
        remedy: str,
        report: KeyReport | None = None,
    ) -> None:
        self.report = report
        super().__init__(path, found, expected, remedy)


@dataclass(frozen=True)
class KeyReport:
    """Where each tensor of a file went.

    Args:
        kind: as in ``importers.KINDS``.
        publisher: who gives the file out.
        hosted: where.
        files: SHA-256 of every file that was read, by name.
        used: name in the file -> name in the network.
        dropped: name in the file -> why it is not used.
        missing: names in the network that the file lacks.
        unexpected: names in the file that the network lacks.
        wrong_shapes: name in the network -> (shape in the file, shape needed).
        notes: other values of the file worth keeping, e.g. "gem_p".
        extras: tensors kept apart from the network, e.g. "classifier.weight".
    """

    kind: str
    publisher: str
    hosted: str
    files: Mapping[str, str]
    used: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(
        default_factory=dict
    )
    notes: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fits(self) -> bool:
        """Whether file and network match, key by key."""
        return not (self.missing or self.unexpected or self.wrong_shapes)

    def as_json(self) -> dict[str, Any]:
        """All but the extras' values, of plain types."""
        return {
            "kind": self.kind,
            "publisher": self.publisher,
            "hosted": self.hosted,
            "files": dict(self.files),
            "notes": dict(self.notes),
            "extras": sorted(self.extras),
            "used": dict(self.used),
            "dropped": dict(self.dropped),
        }


@dataclass(frozen=True)
class Selection:
    """Tensors chosen from a file.

    Args:
        tensors: name in the network -> value.
        sources: name in the network -> name in the file.
        dropped: name in the file -> why it is not used.
        notes: see :class:`KeyReport`.
        extras: see :class:`KeyReport`.
    """

    tensors: Mapping[str, Tensor]
    sources: Mapping[str, str]
    dropped: Mapping[str, str]
    notes: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def compared(
    network: nn.Module, selection: Selection, own: Iterable[str], **origin: Any
) -> KeyReport:
    """The report on a selection for a network.

    Args:
        network: whose names and shapes are needed.
        selection: what the file offers.
        own: names of the network that no file has (pixel statistics).
        origin: kind, publisher, hosted, files.
    """
    needed = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in own:
        needed.pop(name, None)
    offered = {name: tuple(value.shape) for name, value in selection.tensors.items()}
    # Files older than PyTorch 0.4.1, and TensorFlow's, do not count batches; nothing reads it.
    missing = [n for n in needed if n not in offered and not n.endswith("num_batches_tracked")]
    return KeyReport(
        used={selection.sources[n]: n for n in offered if needed.get(n) == offered[n]},
        dropped=selection.dropped,
        missing=tuple(missing),
        unexpected=tuple(selection.sources[n] for n in offered if n not in needed),
        wrong_shapes={
            n: (shape, needed[n])
            for n, shape in offered.items()
            if n in needed and needed[n] != shape
        },
        notes=selection.notes,
        extras=selection.extras,
        **origin,
    )


def require_fit(report: KeyReport, path: Path) -> None:
    """Refuse a file that does not match the network.

    Raises:
        WeightsError: naming the first keys at fault and counting them.
    """
    if report.fits:
        return
    shapes = [f"{n} {found} for {need}" for n, (found, need) in report.wrong_shapes.items()]
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{' ...' * (len(names) > _SHOWN)}"
        for what, names in (
            ("missing", report.missing),
            ("of a wrong shape", shapes),
            ("unexpected", report.unexpected),
        )
        if names
    ]
    raise WeightsError(
        path,
        "keys " + "; ".join(parts),
        f"exactly those of kind {report.kind!r}",
        f"check that the file is the one from {report.hosted}, and whole",
        report,
    )


@torch.no_grad()
def fill(network: nn.Module, selection: Selection, path: Path) -> None:
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

"""What made a result: kept beside it, so that results of different recipes are not mixed."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from ssl_kedro.datasets.base import FileDataset

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Origin:
    """What made a result.

    Args:
        made: date and time.
        node: that made it.
        version: of this package.
        commit: of the project; recorded, not compared.
        shared: parameters that went into it and into what it was made from, by dotted key, as
            text. Results that stand together must agree in them, as in version and images.
        images: fingerprints of the images that went in, and of first weights, by catalog name.
        own: what may differ between results that stand together: method, budget, seed.
        inputs: fingerprints of the results it was made from, by catalog name.
    """

    made: str
    node: str
    version: str
    commit: str | None = None
    shared: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 over all but time and commit."""
        parts = {k: v for k, v in asdict(self).items() if k not in ("made", "commit")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def differences(
        self, version: str, shared: Mapping[str, str], images: Mapping[str, str]
    ) -> Iterator[tuple[str, str, str]]:
        """Name, value in it, and value now, of what it does not share with a run.

        Args:
            version: of this package now.
            shared: all parameters of the run.
            images: fingerprints by catalog name, of those that the run has seen so far.
        """
        if self.version != version:
            yield "version of ssl_kedro", self.version, version
        for key, value in self.shared.items():
            if shared.get(key, "not set") != value:
                yield key, value, shared.get(key, "not set")
        for name, value in self.images.items():
            if images.get(name, value) != value:
                yield f"content of {name}", value, images[name]


def joined(origins: Iterable[Origin], name: str) -> dict[str, str]:
    """A field of several origins in one dictionary."""
    return {key: value for origin in origins for key, value in getattr(origin, name).items()}


class _TellsOrigin(Protocol):
    def read_beside(self) -> bytes: ...


def read_origin(dataset: _TellsOrigin) -> Origin | None:
    """Where a result comes from; None where nothing readable says so."""
    try:
        return TypeAdapter(Origin).validate_json(dataset.read_beside())
    except (OSError, ValidationError):
        return None


def write_origin(dataset: FileDataset[Any], origin: Origin) -> None:
    """Leave an origin beside what the dataset has just saved."""
    dataset.write_beside(json.dumps(asdict(origin), indent=1).encode())

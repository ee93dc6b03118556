"""What is to be said of a kind of weight file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssl_kedro.encoders.importers.report import Selection
from ssl_kedro.encoders.maps import MapNetwork

IMAGENET = "ImageNet mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225)"


@dataclass(frozen=True)
class Kind:
    """One publisher's kind of file.

    Args:
        publisher: who trained it.
        file: as the publisher calls it.
        hosted: the publisher's page or address.
        read: file -> tensors under the network's names.
        network: tensors -> a network of their shape, still without them.
        normalisation: of pixels, in words.
        row: in Tables 3.1-3.4 of the thesis; "" where it has none.
        sources: path that the user gives -> files that are read.
    """

    publisher: str
    file: str
    hosted: str
    read: Callable[[Path], Selection]
    network: Callable[[Selection, Path], MapNetwork]
    normalisation: str = IMAGENET
    row: str = ""
    sources: Callable[[Path], Sequence[Path]] = lambda path: (path,)

"""Weight files that others publish, as networks of maps: the one entrance to all of them."""

import hashlib
from pathlib import Path

from ssl_kedro.core.plugins import modules
from ssl_kedro.encoders.importers.kind import KeyReport, Kind, WeightsError, fill, fitted
from ssl_kedro.encoders.maps import MapNetwork

__all__ = ["KINDS", "KeyReport", "Kind", "WeightsError", "import_weights"]

# A module of ``publishers``, ours or an installed package's, adds the kinds in its KINDS.
KINDS: dict[str, Kind] = {
    name: kind
    for module in modules("ssl_kedro.encoders.importers.publishers")
    for name, kind in module.KINDS.items()
}


def import_weights(kind: str, path: Path) -> tuple[MapNetwork, KeyReport]:
    """A network in evaluation mode, with the weights of a published file.

    Args:
        kind: of ``KINDS``.
        path: of the file as its publisher gives it out; for TensorFlow's checkpoints their
            ``.index`` file, the prefix, or the folder.

    Returns:
        The network, on the CPU, and what became of every key.

    Raises:
        ValueError: no such kind.
        WeightsError: the file is missing, damaged, unsafe, or not what the kind says.
    """
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}: expected one of {', '.join(KINDS)}")
    found = KINDS[kind]
    path = Path(path).expanduser()
    sources = found.sources(path)
    if not sources or not all(source.is_file() for source in sources):
        raise WeightsError(
            path,
            "no such file",
            f"{found.file} of {found.publisher}",
            f"fetch it from {found.hosted} and put it there, or give the path where it is",
        )
    selection = found.read(path)
    network = found.network(selection, path)
    origin = {"kind": kind, "publisher": found.publisher, "hosted": found.hosted}
    files = {source.name: _sha256(source) for source in sources}
    report = fitted(network.bundled, selection, path, files=files, **origin)
    fill(network.bundled, selection, path)
    return network.eval(), report


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""What is tested is never learnt from: neither by another split nor by another source's files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ssl_kedro.core.errors import first_few
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.errors import NAMED, SaliencyDataError

# Splits of sources, by their names.
Taken: TypeAlias = Mapping[str, Sequence[str]]
# A copy of a picture or video is taken for it: its name and its bytes.
Identity: TypeAlias = tuple[str, int]


def check_held_out(
    sources: Mapping[str, PanoramaSource], learnt_from: Taken, tested: Taken
) -> None:
    """Refuse pictures and videos that are learnt from in one source and tested in another.

    Files are the same if name and size are: links and copies are found, what is saved anew is not.

    Args:
        sources: by name; those that cannot be seen yet are missing.
        learnt_from: splits that an encoder or a decoder learns from.
        tested: splits that nothing may have learnt from.

    Raises:
        SaliencyDataError: naming the files.
    """
    held_out = _files(sources, tested)
    found = _files(sources, learnt_from)
    both = sorted(held_out.keys() & found.keys())
    if both:
        (source, path), (other, _) = found[both[0]], held_out[both[0]]
        names = first_few([name for name, _ in both], NAMED)
        raise SaliencyDataError(
            path.parent,
            found=f"{len(both)} files that {source} has to learn from and {other} to be tested "
            f"on: {names}",
            expected="no file on both sides",
            remedy=f"name them in test_list of {source}, which holds them out, or remove them",
        )


def _files(sources: Mapping[str, PanoramaSource], taken: Taken) -> dict[Identity, tuple[str, Path]]:
    """Source and path of each file that panoramas of these splits are read from."""
    found: dict[Identity, tuple[str, Path]] = {}
    for name in taken.keys() & sources.keys():
        source, splits = sources[name], taken[name]
        files = {source.file(at) for at, split in enumerate(source.splits) if split in splits}
        for path in sorted(filter(None, files)):
            found.setdefault((path.name, path.stat().st_size), (name, path))
    return found

"""Text files of the Oxford and Paris sites (Philbin et al. 2007, 2008).

Each query has four files: ``<landmark>_<number>_query.txt`` holds the image's name and its box,
``..._good.txt``, ``..._ok.txt`` and ``..._junk.txt`` hold one name a line. Good and ok are both
positives. They do not say what else is in the database, so that list comes from the caller.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ssl_kedro.core.errors import first_few
from ssl_kedro.images.files import EXTENSIONS
from ssl_kedro.retrieval.ground_truth.model import GroundTruth, GroundTruthError, repeated

# Twenty files of Paris hold an error page instead of an image; every published evaluation leaves
# them out (robots.ox.ac.uk/~vgg/data/parisbuildings/corrupt.txt), the text files may list them.
BROKEN_PARIS_IMAGES = frozenset(
    f"paris_{landmark}_{number:06d}"
    for landmark, numbers in {
        "louvre": (136, 146),
        "moulinrouge": (422,),
        "museedorsay": (1059,),
        "notredame": (188,),
        "pantheon": (284, 960, 974),
        "pompidou": (195, 196, 201, 467, 640),
        "sacrecoeur": (299, 330, 353),
        "triomphe": (662, 833, 863, 867),
    }.items()
    for number in numbers
)

_QUERY = re.compile(r"(?P<landmark>.+)_(?P<number>\d+)_query\.txt")
# Oxford's query files name images as its first word list did.
_PREFIX = "oxc1_"
_REMEDY = "unpack the publisher's ground-truth archive into a folder of its own"
_COMPLETE = "give the complete image folder of the same data set"


def ground_truth_of_text_files(folder: Path, database: Sequence[str]) -> GroundTruth:
    """The ground truth in a folder of text files.

    Queries are ordered by landmark and number, as in the published MATLAB files.

    Args:
        folder: with the text files, not in folders below it.
        database: names of all images; folders and known image extensions are ignored when they
            are compared with the names in the files.

    Raises:
        GroundTruthError: files are missing or not as described, or name images that are not in
            the database.
    """
    stems = _query_stems(folder)
    places = _places(database)
    names, boxes = _queries(folder, stems, places)
    lists: dict[str, list[np.ndarray]] = {"ok": [], "junk": []}
    absent: dict[str, None] = {}
    for stem in stems:
        good = [*_lines(folder, stem, "good"), *_lines(folder, stem, "ok")]
        for kind, listed in (("ok", good), ("junk", _lines(folder, stem, "junk"))):
            found = {name: places.get(name, -1) for name in listed}
            lacking = [name for name, place in found.items() if place < 0]
            absent |= dict.fromkeys(name for name in lacking if name not in BROKEN_PARIS_IMAGES)
            kept = [place for place in found.values() if place >= 0]
            lists[kind].append(np.array(kept, dtype=np.int64))
    if absent:
        raise GroundTruthError(
            f"{len(absent)} judged images that are not in the database "
            f"({first_few(map(repr, absent))})",
            f"names among the {len(database)} of the database, such as {database[0]!r}",
            _COMPLETE,
        )
    queries = tuple(database[places[name]] for name in names)
    return GroundTruth(tuple(database), queries, lists, boxes)


def _query_stems(folder: Path) -> list[str]:
    """Such as all_souls_1, ordered by landmark, then number."""
    found = [match for path in folder.iterdir() if (match := _QUERY.fullmatch(path.name))]
    if not found:
        raise GroundTruthError(
            "a folder without files called <landmark>_<number>_query.txt",
            "the text files of Oxford5k or Paris6k, or a ground-truth file",
            _REMEDY,
        )
    found.sort(key=lambda match: (match["landmark"], int(match["number"])))
    return [f"{match['landmark']}_{match['number']}" for match in found]


def _places(database: Sequence[str]) -> Mapping[str, int]:
    """Index of each image by its name without folders and known extension."""
    if not database:
        raise GroundTruthError(
            "text files, which do not list the database",
            "the names of all its images",
            "give the folder of images, so that they can be listed",
        )
    paths = map(PurePosixPath, database)
    bare = [path.stem if path.suffix.lower() in EXTENSIONS else path.name for path in paths]
    twice = repeated(bare)
    if twice:
        raise GroundTruthError(
            f"a database with {len(twice)} names more than once ({first_few(map(repr, twice))})",
            "every image once, whatever its folder and extension",
            "take the copies out of the folder of images",
        )
    return {name: index for index, name in enumerate(bare)}


def _queries(
    folder: Path, stems: Sequence[str], places: Mapping[str, int]
) -> tuple[list[str], np.ndarray]:
    """Bare names and boxes of the queries, boxes (Q, 4)."""
    names, boxes = [], np.empty((len(stems), 4))
    for row, stem in zip(boxes, stems, strict=True):
        words = " ".join(_lines(folder, stem, "query")).split()
        path = folder / f"{stem}_query.txt"
        try:
            name, *box = words
            row[:] = [float(number) for number in box]
        except ValueError as error:
            expected = "an image's name and its box: name left top right bottom"
            found = repr(" ".join(words))[:80]
            raise GroundTruthError(found, expected, _REMEDY, path) from error
        if name not in places:
            name = name.removeprefix(_PREFIX)
        if name not in places:
            found = f"the query {name!r}, which is not in the database"
            raise GroundTruthError(found, f"one of its {len(places)} images", _COMPLETE, path)
        names.append(name)
    return names, boxes


def _lines(folder: Path, stem: str, kind: str) -> list[str]:
    path = folder / f"{stem}_{kind}.txt"
    if not path.is_file():
        expected = "four files for each query: query, good, ok, junk"
        raise GroundTruthError("no such file", expected, _REMEDY, path)
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]

"""The page of ``--tags find``: each picture that was looked for, and what is most like it."""

from pathlib import Path

import pandas as pd

from ssl_kedro.core.errors import shown
from ssl_kedro.images.decode import decoded_thumbnail
from ssl_kedro.images.files import UnreadableImageError
from ssl_kedro.images.photographs import SquareFiles
from ssl_kedro.reporting.html import Report, Section, rendered
from ssl_kedro.reporting.thumbnails import Thumbnail, Thumbnails, image_uri
from ssl_kedro.retrieval.embeddings import Embeddings

# On the page, in px; as files twice as large, for screens of high resolution.
_SIDE = 112
# Small pictures on a page of some 10 MB; the table has the rest.
_SHOWN = 1000


def found_gallery(found: pd.DataFrame, embeddings: Embeddings, files: SquareFiles) -> str:
    """Self-contained HTML: a row a picture, the most similar first.

    Args:
        found: query, rank, path, similarity.
        embeddings: what was searched.
        files: that the queries are of.
    """
    facts, folder = embeddings.facts, Path(embeddings.facts["folder"])
    queries = dict.fromkeys(found["query"])
    most = max(1, _SHOWN // (1 + int(found["rank"].max())))
    rows = []
    for query in list(queries)[:most]:
        of_query = found[found["query"] == query]
        results = zip(of_query["path"], of_query["similarity"], strict=True)
        pictures = [
            _thumbnail(files.root / query, "query", framed=True),
            *(_thumbnail(folder / path, f"{value:.3f} {path}") for path, value in results),
        ]
        rows.append(Thumbnails(query, pictures, _SIDE))
    several = f"{len(queries)} pictures were" if len(queries) > 1 else "One picture was"
    lead = f"{several} looked for among {len(embeddings.vectors):,} images."
    if len(queries) > most:
        lead += f" The first {most} are shown; found.csv has all."
    said = (
        "Below each image: how similar it is (cosine of the two feature vectors: 1 = alike to the "
        "encoder), and where it lies in the folder. Compare values inside a row: how far below 1 "
        "unrelated images lie follows from the encoder. A picture of the folder finds itself first."
    )
    part = f"{facts['encoder']}, {facts['part']}"
    origin = f"Images of {shown(str(folder))}; features of {part}, {facts['image_size']} px"
    section = Section("Most similar images", [said], thumbnails=rows)
    answers = [("What was looked for", lead)]
    return rendered(Report("What is like this picture?", answers, origin, sections=[section]))


def _thumbnail(path: Path, words: str, *, framed: bool = False) -> Thumbnail:
    """A file as it is, not cropped; or why it cannot be shown."""
    uri, missing = "", ""
    try:
        uri = image_uri(decoded_thumbnail(path, 2 * _SIDE), 2 * _SIDE)
    except UnreadableImageError as error:
        missing = str(error) if path.exists() else "the file is gone"
    return Thumbnail(uri, words, shown(str(path)), missing, framed)

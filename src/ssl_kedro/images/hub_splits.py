"""Splits of Hugging Face data sets, as streams of Arrow tables."""

import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ssl_kedro.core.errors import UserError, first_line
from ssl_kedro.core.names import Names, states
from ssl_kedro.images.load import DataConfig

_EXPECTED = "a folder that the datasets package can read, or a name on the Hub (owner/name)"
_ON_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


def splits_of(config: DataConfig, column: str | None = None) -> dict[str, Any]:
    """All splits by name, as streams; of that column alone where that spares reading the others.

    Raises:
        ImageSourceError: there is no such data set.
    """
    import datasets  # noqa: PLC0415  an extra, and slow

    place = Path(config.root or "").expanduser()
    if not place.is_dir() and (config.root is None or not _ON_HUB.fullmatch(config.root)):
        found = f"no such folder (looked in {place.absolute()})" if config.root else "none given"
        raise config.error("root", found, _EXPECTED, "correct data.root")
    try:
        if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
            saved = datasets.load_from_disk(str(place))
            saved = saved if isinstance(saved, dict) else {"train": saved}
            return {str(name): rows.to_iterable_dataset() for name, rows in saved.items()}
        where = str(place) if place.is_dir() else config.root
        builder = datasets.load_dataset_builder(where, config.subset)
        if column is not None and hasattr(builder.config, "columns"):
            builder = datasets.load_dataset_builder(where, config.subset, columns=[column])
        return {**builder.as_streaming_dataset()}
    except Exception as error:  # of any kind, by what is missing where
        found = f"one that cannot be opened ({first_line(error)})"
        remedy = "correct data.root and data.subset, and look whether the Hub can be reached"
        raise config.error("root", found, _EXPECTED, remedy) from error


def tables(config: DataConfig, name: str, column: str, count: int, first: int = 0) -> Iterator[Any]:
    """Arrow tables of ``count`` rows of one column, from a row on; of Parquet no other is read.

    Raises:
        ImageSourceError: a damaged file, or one that is out of reach.
    """
    try:
        rows = splits_of(config, column)[name].select_columns([column])
        yield from rows.with_format("arrow").skip(first).iter(count)
    except UserError:
        raise
    except Exception as error:  # of any kind, by what is damaged or missing where
        raise config.error(
            "root",
            found=f"a split {name} that cannot be read to its end ({first_line(error)})",
            expected="whole files that stay within reach",
            remedy="repair them or fetch them again, and run again",
        ) from error


def state(config: DataConfig) -> str:
    """What changes when the data set does."""
    place = Path(config.root or "").expanduser()
    if place.is_dir():
        below = (Path(folder, name) for folder, _, files in os.walk(place) for name in files)
        names = Names.of(sorted(path.relative_to(place).as_posix() for path in below))
        return names.digest() + hashlib.sha256(states(place, names, int).data).hexdigest()
    return _hub_state(str(config.root), config.subset)


@lru_cache
def _hub_state(root: str, subset: str | None) -> str:
    """The Hub's commit, as the package tells it."""
    import datasets  # noqa: PLC0415  an extra, and slow

    return str(datasets.load_dataset_builder(root, subset).hash)

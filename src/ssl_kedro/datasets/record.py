"""Kedro dataset of typed values in a JSON file."""

from __future__ import annotations

import importlib
from typing import Any

from kedro_datasets.json import JSONDataset
from pydantic import TypeAdapter, ValidationError

from ssl_kedro.core.errors import InputError


class RecordDataset(JSONDataset):  # type: ignore[misc]  # kedro_datasets loads lazily, untyped
    """A dataclass, or a dictionary of them by name, as JSON; checked when it is read.

    Args:
        record: path of the type, such as "ssl_kedro.pipelines.gated.records.Evaluation"; whatever
            pydantic can check.
        options: of Kedro's own JSON dataset: filepath, save_args, versioned, metadata...
    """

    def __init__(self, *, record: str, **options: Any) -> None:
        super().__init__(**options)
        self._record = record

    @property
    def _adapter(self) -> TypeAdapter[Any]:
        module, _, name = self._record.rpartition(".")
        return TypeAdapter(getattr(importlib.import_module(module), name))

    def load(self) -> Any:
        """The value.

        Raises:
            InputError: the file holds something else.
        """
        values = super().load()
        try:
            return self._adapter.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(
                self._filepath,
                f"{first['input']!r:.60} at {place}" if place else f"{first['input']!r:.60}",
                f"{self._record} ({first['msg'].lower()})",
                "run the node that writes the file again",
            ) from error

    def save(self, data: Any) -> None:
        """Write the value, under the names of its fields."""
        super().save(self._adapter.dump_python(data, mode="json"))

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "record": self._record}

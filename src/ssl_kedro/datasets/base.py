"""What our Kedro datasets share: files anywhere, values that are only read, handles to write to."""

from abc import abstractmethod
from copy import deepcopy
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import fsspec
from kedro.io import AbstractDataset, AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import get_protocol_and_path

from ssl_kedro.core.files import reading, replaced_file

Value = TypeVar("Value")


class FileDataset(AbstractVersionedDataset[Value, Value], Generic[Value]):
    """A value in a file or folder, on this machine or where fsspec finds it.

    A kind of file is a class with :meth:`read` and :meth:`write`. What lies elsewhere passes
    through a temporary folder, so that both only ever see a path of this machine.

    Args:
        filepath: of the file or folder, with a protocol such as ``s3://`` where it is elsewhere;
            None where a parameter names none, which only loading and saving refuse, since tools
            that read a whole catalog make every entry of it.
        version: of the file, as Kedro gives it for ``versioned: true``.
        fs_args: of the file system.
        credentials: of the file system.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    holds: str = "a file"
    unset: str = "set its parameter"

    def __init__(
        self,
        *,
        filepath: str | None,
        version: Version | None = None,
        fs_args: dict[str, Any] | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._given = filepath is not None
        self._protocol, path = get_protocol_and_path(filepath or "", version)
        if self._protocol == "file":
            path = Path(path).expanduser().as_posix()
        options = {**deepcopy(credentials or {}), **deepcopy(fs_args or {})}
        self._fs = fsspec.filesystem(self._protocol, **options)
        self.metadata = metadata
        super().__init__(PurePosixPath(path), version, self._fs.exists, self._fs.glob)

    @abstractmethod
    def read(self, path: Path) -> Value:
        """The value that lies at a path of this machine."""

    @abstractmethod
    def write(self, value: Value, path: Path) -> None:
        """Leave a value at a path of this machine: a new file, or a folder that is replaced."""

    def load(self) -> Value:
        """The value.

        Raises:
            DatasetError: no path was given, or nothing is there.
            DamagedFileError: what is there cannot be read.
        """
        self._check_given()
        path = self._get_load_path()
        if self._protocol == "file":
            return self._read_here(Path(path))
        with TemporaryDirectory() as folder:
            copied = Path(folder) / path.name
            self._fs.get(str(path), str(copied), recursive=self._fs.isdir(str(path)))
            return self._read_here(copied)

    def save(self, data: Value) -> None:
        """Write, replacing an older file or folder only when complete."""
        self._check_given()
        path = self._get_save_path()
        if self._protocol == "file":
            self._write_here(data, Path(path))
        else:
            with TemporaryDirectory() as folder:
                written = Path(folder) / path.name
                self._write_here(data, written)
                self._fs.put(str(written), str(path), recursive=written.is_dir())
        self._fs.invalidate_cache(str(self._filepath))

    def _read_here(self, path: Path) -> Value:
        with reading(path, self.holds, "Remove it, and run its node again"):
            return self.read(path)

    def _write_here(self, data: Value, path: Path) -> None:
        with replaced_file(path) as temporary:
            self.write(data, temporary)

    def _check_given(self) -> None:
        if not self._given:
            raise DatasetError(f"expected the path of {self.holds}, found none: {self.unset}")

    def _exists(self) -> bool:
        try:
            return self._given and bool(self._fs.exists(str(self._get_load_path())))
        except DatasetError:  # no version yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": str(self._filepath) if self._given else None,
            "protocol": self._protocol,
            "version": self._version,
        }


class FolderDataset(FileDataset[Value], Generic[Value]):
    """A value in a folder, which :meth:`write` itself replaces only when complete."""

    holds = "a folder"

    def _write_here(self, data: Value, path: Path) -> None:
        self.write(data, path)


class ReadOnlyDataset(AbstractDataset[Value, Value], Generic[Value]):
    """A value that the catalog makes and no node writes."""

    refusal: ClassVar[str]

    def save(self, data: Value) -> NoReturn:  # noqa: ARG002
        """Refused; the message says who writes, or that nobody does."""
        raise DatasetError(self.refusal)

    def _exists(self) -> bool:
        return True


class HandleDataset(ReadOnlyDataset[Value], Generic[Value]):
    """What a node that writes while it runs is to write to.

    A training writes long before its node returns, an extraction in constant memory, so the
    catalog gives them a store instead of a value to read. Where it lies is the catalog's choice.

    Args:
        filepath: of the file or folder, on this machine; nothing need be there yet.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    opened_by: ClassVar[type[Any]]

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        protocol, path = get_protocol_and_path(filepath)
        if protocol != "file":
            raise DatasetError(
                f"{filepath}: a node writes there while it runs; expected a path of this machine, "
                f"found the protocol {protocol!r}"
            )
        self._filepath = Path(path).expanduser()
        self.metadata = metadata

    def load(self) -> Value:
        """The store at the path; nothing is read yet."""
        opened: Value = self.opened_by(self._filepath)
        return opened

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

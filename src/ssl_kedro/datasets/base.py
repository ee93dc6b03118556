"""What our Kedro datasets share: files anywhere, values that are only read, handles to write to."""

import importlib
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from functools import partial, wraps
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import fsspec
from kedro.io import AbstractDataset, AbstractVersionedDataset, DatasetError, Version
from kedro.io.core import VersionNotFoundError, get_filepath_str, get_protocol_and_path

from ssl_kedro.core.errors import UserError
from ssl_kedro.core.files import reading, replaced_file
from ssl_kedro.core.remote import check_scheme, reached

Value = TypeVar("Value")


class PathError(UserError, DatasetError):
    """A path that is missing, or not on this machine.

    Cause: a parameter that should name a file is not set, or an address stands where a node
    writes while it runs.
    Remedy: set what the message names; give such entries a path of this machine
    (docs/remote.md).
    """


def named_object(path: str) -> Any:
    """What a module has under a name, such as "ssl_kedro.pipelines.gated.records.Evaluation"."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


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
        preview: path of the function that makes of the value what Kedro-Viz shows, such as
            "ssl_kedro.reporting.previews.metric_table"; its result's type says what that is.
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
        preview: str | None = None,
    ) -> None:
        self._given = filepath is not None
        self._preview = preview
        check_scheme("filepath", filepath)
        self._protocol, path = get_protocol_and_path(filepath or "", version)
        if self._protocol == "file":
            path = Path(path).expanduser().as_posix()
        options = {**deepcopy(credentials or {}), **deepcopy(fs_args or {})}
        self._fs = fsspec.filesystem(self._protocol, **options)
        self.metadata = metadata
        asked = (self._reaching(self._fs.exists), self._reaching(self._fs.glob))
        super().__init__(PurePosixPath(path), version, *asked)

    def __getattr__(self, name: str) -> Any:
        """Kedro-Viz shows what has the method ``preview``; nothing of what is not there yet."""
        make = self._previewed() if name == "preview" and "_preview" in vars(self) else None
        if make is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        @wraps(make)
        def preview(**options: Any) -> Any:
            return make(**options) if self.exists() else None

        return preview

    def _previewed(self) -> Callable[..., Any] | None:
        """What makes a preview; None where there is none."""
        if self._preview is None:
            return None
        make = named_object(self._preview)

        @wraps(make)
        def of_value(**options: Any) -> Any:
            return make(self.load(), **options)

        return of_value

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
        with self._here() as path:
            named = path if self._protocol == "file" else Path(self._filepath)
            with reading(named, self.holds, "Remove it, and run its node again"):
                return self.read(path)

    def save(self, data: Value) -> None:
        """Write, replacing an older file or folder only when complete."""
        self._check_given()
        path = self._get_save_path()
        if self._protocol == "file":
            self._write_here(data, Path(path))
            return
        with TemporaryDirectory() as folder:
            written = Path(folder) / path.name
            self._write_here(data, written)
            with self._reached():
                self._send(written, path)
        self._fs.invalidate_cache(str(self._filepath))

    @contextmanager
    def _here(self) -> Iterator[Path]:
        """What is to be loaded, on this machine; a copy only lasts as long as the block."""
        path = self._get_load_path()
        if self._protocol == "file":
            yield Path(path)
            return
        with TemporaryDirectory() as folder:
            copied = Path(folder) / path.name
            there = get_filepath_str(path, self._protocol)
            with self._reached():
                self._fs.get(there, str(copied), recursive=self._fs.isdir(there))
            yield copied

    def _send(self, written: Path, path: PurePosixPath) -> None:
        """Replace a file, which stores do at once, or a folder, once all of its files are there."""
        if written.is_file():
            self._fs.put(str(written), str(path))
            return
        names = [file.relative_to(written) for file in written.rglob("*") if file.is_file()]
        arriving = path.with_name(f".{path.name}.tmp")
        at = [[str(place / name) for name in names] for place in (written, arriving, path)]
        self._remove(arriving)  # what a run that was killed has left
        self._fs.put(at[0], at[1])
        self._remove(path)
        self._fs.copy(at[1], at[2])
        self._remove(arriving)

    def _remove(self, path: PurePosixPath) -> None:
        if self._fs.exists(str(path)):
            self._fs.rm(str(path), recursive=True)

    def _reached(self) -> AbstractContextManager[None]:
        return reached(f"{self._protocol}://{str(self._filepath).lstrip('/')}")

    def _reaching(self, asking: Callable[[str], Any]) -> Callable[[str], Any]:
        # Bound, not nested: processes of a runner are sent the dataset.
        return partial(self._asked, asking)

    def _asked(self, asking: Callable[[str], Any], path: str) -> Any:
        with self._reached():
            return asking(get_filepath_str(PurePosixPath(path), self._protocol))

    def _write_here(self, data: Value, path: Path) -> None:
        with replaced_file(path) as temporary:
            self.write(data, temporary)

    def beside(self, path: PurePosixPath) -> str:
        """Path of what is kept about the value at a path: see :mod:`ssl_kedro.datasets.origin`."""
        return str(path.with_name(f".{path.name}.origin.json"))

    def read_beside(self) -> bytes:
        """What is kept about the value.

        Raises:
            OSError: nothing is.
        """
        path = self.beside(self._get_load_path())
        if not self._exists_function(path):
            raise FileNotFoundError(path)
        found: bytes = self._reaching(self._fs.cat_file)(path)
        return found

    def write_beside(self, content: bytes) -> None:
        """Keep something about the value that was just saved."""
        path = self.beside(self._saved_path())
        if self._protocol == "file":
            with replaced_file(Path(path)) as temporary:
                temporary.write_bytes(content)
        else:
            with self._reached():
                self._fs.pipe_file(path, content)

    def forget_beside(self) -> None:
        """Remove what is kept about a value that is about to be replaced."""
        path = self.beside(self._saved_path())
        if self._exists_function(path):
            self._reaching(self._fs.rm_file)(path)

    def _saved_path(self) -> PurePosixPath:
        """Where saving writes; Kedro's own way to it refuses what is there already."""
        version = self.resolve_save_version()
        return self._get_versioned_path(version) if version else self._filepath

    def _check_given(self) -> None:
        if not self._given:
            raise PathError(f"expected the path of {self.holds}, found none: {self.unset}")

    def _exists(self) -> bool:
        try:
            return self._given and bool(self._exists_function(str(self._get_load_path())))
        except VersionNotFoundError as error:
            if error.__cause__ is None:  # no version yet
                return False
            raise error.__cause__ from None

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

    def beside(self, path: PurePosixPath) -> str:
        """Inside the folder, so that whoever takes it along takes that too."""
        return str(path / "origin.json")


class ReadOnlyDataset(AbstractDataset[Value, Value], Generic[Value]):
    """A value that the catalog makes and no node writes."""

    refusal: ClassVar[str]

    def save(self, data: Value) -> NoReturn:  # noqa: ARG002
        """Refused; the message says who writes, or that nobody does."""
        raise DatasetError(self.refusal)

    def _exists(self) -> bool:
        return True


class SourceDataset(ReadOnlyDataset[Value], Generic[Value]):
    """A value made from files that other tools have written, here or where fsspec finds them.

    Args:
        fs_args: of the file system of files elsewhere.
        credentials: of the file system of files elsewhere.
        metadata: for Kedro-Viz and tracking; not read here.
    """

    def __init__(
        self,
        *,
        fs_args: dict[str, Any] | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._storage_options = {**(credentials or {}), **(fs_args or {})}
        self.metadata = metadata


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
            raise PathError(
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

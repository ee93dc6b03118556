"""The entrance: where images come from, how many, at what size; and those of one part of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from ssl_kedro.core.config import POSITIVE, Config, ConfigError, Range
from ssl_kedro.core.errors import SettingError
from ssl_kedro.core.extras import absent, how_to_install
from ssl_kedro.core.form import Form
from ssl_kedro.core.plugins import module_names, modules
from ssl_kedro.core.remote import at_hand, check_scheme

if TYPE_CHECKING:
    from ssl_kedro.images.image_set import ImageSet
    from ssl_kedro.images.parts import ImagePart

Split = Literal["pretrain", "train", "eval"]
PACKAGE = "ssl_kedro.images.sources"
_OPTIONS = ("resize", "labels", "image_key", "label_key", "subset", "train_split", "eval_split")
_COUNT, _GENERATED = Range(at_least=1), Range(at_least=1, at_most=10_000_000)


class ImageSourceError(SettingError):
    """Images that cannot be used as configured.

    Cause: ``data.root`` leads nowhere, holds no images, or holds them in another layout.
    Remedy: set ``data.source`` and ``data.root`` to where the images lie
    (docs/environments.md).
    """

    section = "data"


@dataclass(frozen=True)
class DataConfig(Config):
    """One source of images.

    Args:
        source: which one, by a name of a module of :mod:`ssl_kedro.images.sources`.
        root: the source's folder (of ``folder`` also an archive of it, .zip or .tar), the file of
            ``npz`` or ``csv``, a pattern of tar files (``webdataset``) or a name on the Hugging
            Face Hub (``huggingface``), also elsewhere (``s3://...``); None for textures and digits.
        size: height and width of the stored images in pixels.
        resize: shorter side in px that pictures are brought to before the central square of
            ``size`` px is cut out (torchvision's ``Resize`` and ``CenterCrop``). Those to pre-train
            on are then kept whole, squeezed into a square of that side, so that crops reach their
            borders. None = central squares of the shorter side, throughout.
        limit: at most so many images of each training part, the classes as equal in number
            as they can be; None keeps all.
        eval_limit: the same for the evaluation part.
        eval_fraction: share held out for evaluation where a source has no such part.
        generated: how many textures the training part has.
        generated_eval: how many textures the evaluation part has.
        memory_limit_mb: largest array of images kept in memory, in MiB; a larger one becomes
            a memory map in ``cache_dir``.
        cache_dir: folder of memory maps; they are reused by later runs.
        workers: decoding processes; 0 takes one for each core, 1 none but the main one.
        max_skipped: largest share of unreadable files; more of them end the run.
        labels: "none" takes all images below a ``folder``, or in a ``csv``, without classes; None
            has those that are there.
        image_key: ending of the images of ``webdataset``, column of those of ``huggingface`` or
            ``csv``; None where it is to be found.
        label_key: the same for labels, or their key in ``.json``.
        subset: of ``huggingface``, where a data set has several.
        train_split: of ``huggingface``; None = train, or the only one.
        eval_split: of ``huggingface``; None = test, val, validation or eval, whichever is there
            first, or a share of the training part.

    Raises:
        ConfigError: a value outside its range, a root or another option for a source that has none,
            or a source whose package is missing.
    """

    source: str = "textures"
    root: str | None = None
    size: Annotated[int, Range(at_least=8, at_most=1024)] = 32
    resize: Annotated[int | None, Range(at_least=8, at_most=1024)] = None
    limit: Annotated[int | None, _COUNT] = None
    eval_limit: Annotated[int | None, _COUNT] = None
    eval_fraction: Annotated[float, Range(above=0, below=1)] = 0.2
    generated: Annotated[int, _GENERATED] = 2000
    generated_eval: Annotated[int, _GENERATED] = 1000
    memory_limit_mb: Annotated[float, POSITIVE] = 2048.0
    cache_dir: str = "data/02_intermediate/images"
    workers: Annotated[int, Range(at_least=0, at_most=1024)] = 0
    max_skipped: Annotated[float, Range(at_least=0, below=1)] = 0.01
    labels: Literal["none"] | None = None
    image_key: str | None = None
    label_key: str | None = None
    subset: str | None = None
    train_split: str | None = None
    eval_split: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scheme("root", self.root)
        source = image_source(self.source)
        if self.root is not None and not source.reads_files:
            raise ConfigError(
                "root",
                self.root,
                f"none, because source = {self.source} reads no files; "
                "give source = folder (or another that does) to use this root",
            )
        for name in _OPTIONS:
            if getattr(self, name) is not None and name not in source.options:
                expected = f"none, because source = {self.source} has no such option"
                raise ConfigError(name, getattr(self, name), expected)
        if source.package and absent(source.package):
            expected = f"one whose package is installed: {how_to_install(source.package)}"
            raise ConfigError("source", self.source, expected)
        if self.resize is not None and self.resize < self.size:
            raise ConfigError("resize", self.resize, f"at least size, {self.size} px")

    def form(self, split: Split) -> Form:
        """What is kept of each picture of a part."""
        return Form(self.size, self.resize, whole=split == "pretrain" and self.resize is not None)

    def limit_of(self, training: bool) -> tuple[str, int | None]:
        """Name and value of the limit of the training or the evaluation part."""
        return ("limit", self.limit) if training else ("eval_limit", self.eval_limit)

    def error(self, field: str, found: str, expected: str, remedy: str) -> ImageSourceError:
        """What is wrong with one of the fields."""
        return ImageSourceError(field, getattr(self, field), found, expected, remedy)

    def existing(self, expected: str) -> Path:
        """What lies at ``root``, a folder or a file.

        Args:
            expected: what it should be, for messages.

        Raises:
            ImageSourceError: it is not given, or nothing is there.
        """
        remedy = "set data.root to that folder"
        if self.root is None or not self.root.strip():
            raise self.error("root", "no folder given", expected, remedy)
        root = Path(self.root).expanduser()
        if not root.exists():
            found = f"no such folder (looked in {root.absolute()})"
            raise self.error("root", found, expected, remedy)
        return root

    def existing_root(self, expected: str) -> Path:
        """The folder ``root``; arguments and errors are those of :meth:`existing`."""
        root = self.existing(expected)
        if not root.is_dir():
            remedy = "set data.root to that folder"
            raise self.error("root", "a file, not a folder", expected, remedy)
        return root

    def published_error(self, kind: Any, found: str) -> ImageSourceError:
        """What is wrong with a published data set, torchvision's class, and where to get it."""
        return self.error(
            "root",
            found,
            expected=f"a folder that holds {kind.base_folder}/, the unpacked {kind.filename}",
            remedy=f"download {kind.url}, unpack it, and set data.root to the folder that holds "
            f"{kind.base_folder}/",
        )

    def published_folder(self, kind: Any) -> Path:
        """Folder of a published data set, torchvision's class, unpacked below ``root``.

        Raises:
            ImageSourceError: it is not there.
        """
        try:
            folder: Path = self.existing_root("") / kind.base_folder
        except ImageSourceError as error:
            raise self.published_error(kind, error.found) from None
        if not folder.is_dir():
            raise self.published_error(kind, f"no {kind.base_folder}/")
        return folder


@dataclass(frozen=True)
class ImageSource:
    """A source of images, which a module of ``ssl_kedro.images.sources`` holds as ``SOURCE``.

    A package of its own adds one by an entry point of that group; see
    :func:`ssl_kedro.core.plugins.module_names`.

    Args:
        names: by which it is asked for.
        load: from configuration, split and seed to the images, as :func:`load_images` says.
        reads_files: from ``data.root``.
        unlabelled: whether pre-training has more images than the labelled training part.
        count: as ``load``, how many images there are, told without decoding any; None where only
            loading tells.
        options: fields of the configuration that only such sources have.
        files: as ``load``, the folder that the names of the images are below, and these with their
            labels; None where images are not files.
        package: that it needs and that is not always there; see :mod:`ssl_kedro.core.extras`.
    """

    names: tuple[str, ...]
    load: Callable[[DataConfig, Split, int], ImageSet]
    reads_files: bool = True
    unlabelled: bool = False
    count: Callable[[DataConfig, Split, int], int | None] | None = None
    options: tuple[str, ...] = ()
    files: Callable[[DataConfig, Split, int], tuple[Path, ImagePart]] | None = None
    package: str | None = None


@cache
def image_source(name: str) -> ImageSource:
    """The source of a name.

    Raises:
        ConfigError: there is none.
    """
    # Most are called as their module, so that no other has to be imported.
    likely_first = sorted(module_names(PACKAGE), key=lambda module: not module.endswith(f".{name}"))
    for module in likely_first:
        found: ImageSource = importlib.import_module(module).SOURCE
        if name in found.names:
            return found
    raise ConfigError("source", name, f"one of {', '.join(source_names())}")


def source_names() -> list[str]:
    """Names of all sources."""
    return [name for module in modules(PACKAGE) for name in module.SOURCE.names]


def source_of(path: Path) -> str:
    """Name of the source that reads what lies at a path: a folder or an archive, unless a file."""
    return {".npz": "npz", ".csv": "csv"}.get(path.suffix.lower(), "folder")


def count_images(config: DataConfig, split: Split, seed: int) -> int | None:
    """How many images :func:`load_images` will give; None where only loading tells.

    Files that turn out to be unreadable are counted.

    Raises:
        ImageSourceError: as far as the images need not be decoded to find out.
    """
    count = image_source(config.source).count
    return None if count is None else count(config, split, seed)


def load_images(
    config: DataConfig, split: Split, seed: int, storage_options: Mapping[str, Any] | None = None
) -> ImageSet:
    """Images of one part of a source, at ``config.size``.

    Args:
        config: source, size and limits.
        split: "pretrain" (the unlabelled part where there is one, else as "train"), "train"
            or "eval".
        seed: of generated images, held-out shares and limits; equal seeds give equal images.
        storage_options: of a root elsewhere; see :func:`ssl_kedro.core.remote.local_copy`.

    Returns:
        The images; a memory map if they would exceed ``config.memory_limit_mb``.

    Raises:
        ImageSourceError: the images cannot be used; the text names parameter and remedy.
        RemoteError: they lie elsewhere and cannot be reached.
        ValueError: there is no such split.
    """
    if split not in get_args(Split):
        raise ValueError(f"split = {split!r}: expected one of {', '.join(get_args(Split))}")
    config = at_hand(config, storage_options, "root")
    return image_source(config.source).load(config, split, seed)

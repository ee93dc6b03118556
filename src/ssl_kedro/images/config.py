"""Where images come from, how many, and at what size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ssl_kedro.core.config import POSITIVE, Config, ConfigError, Range
from ssl_kedro.images.errors import ImageSourceError
from ssl_kedro.images.load import image_source

_COUNT = Range(at_least=1)


@dataclass(frozen=True)
class DataConfig(Config):
    """One source of images.

    Args:
        source: which one, by a name of a module of :mod:`ssl_kedro.images.sources`.
        root: the source's folder, or the file of ``npz``; None for textures and digits.
        size: height and width of the stored images in pixels.
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

    Raises:
        ConfigError: a value outside its range, or a root for a source that has none.
    """

    source: str = "textures"
    root: str | None = None
    size: Annotated[int, Range(at_least=8, at_most=1024)] = 32
    limit: Annotated[int | None, _COUNT] = None
    eval_limit: Annotated[int | None, _COUNT] = None
    eval_fraction: Annotated[float, Range(above=0, below=1)] = 0.2
    generated: Annotated[int, _COUNT] = 2000
    generated_eval: Annotated[int, _COUNT] = 1000
    memory_limit_mb: Annotated[float, POSITIVE] = 2048.0
    cache_dir: str = "data/02_intermediate/images"
    workers: Annotated[int, Range(at_least=0)] = 0
    max_skipped: Annotated[float, Range(at_least=0, below=1)] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        source = image_source(self.source)
        if self.root is not None and not source.reads_files:
            raise ConfigError(
                "root",
                self.root,
                f"none, because source = {self.source} reads no files; "
                "give source = folder (or another that does) to use this root",
            )

    def limit_of(self, training: bool) -> tuple[str, int | None]:
        """Name and value of the limit of the training or the evaluation part."""
        return ("limit", self.limit) if training else ("eval_limit", self.eval_limit)

    def root_error(self, found: str, expected: str, remedy: str) -> ImageSourceError:
        """What is wrong with ``root``."""
        return ImageSourceError("root", self.root, found, expected, remedy)

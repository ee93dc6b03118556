"""Kedro datasets that the catalog makes and no node saves.

Images, panoramas, tasks and encoders of parameters.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io import DatasetError
from pydantic import TypeAdapter

from ssl_kedro.core.errors import SettingError
from ssl_kedro.core.remote import is_remote
from ssl_kedro.datasets.base import SourceDataset, Value
from ssl_kedro.encoders.base import Encoder
from ssl_kedro.encoders.fingerprint import weight_fingerprint
from ssl_kedro.encoders.frozen import (
    FrozenEncoderConfig,
    InitialWeights,
    frozen_encoder,
    place_of_weights,
    trained_encoder,
)
from ssl_kedro.encoders.maps import MapNetwork
from ssl_kedro.images.image_set import ImageSet
from ssl_kedro.images.load import DataConfig, Split, count_images, load_images
from ssl_kedro.retrieval.described import DescribedEncoderConfig
from ssl_kedro.retrieval.sets import (
    RetrievalDataConfig,
    RetrievalSet,
    effective_config,
    retrieval_set,
)
from ssl_kedro.saliency.given_maps import MapFolder
from ssl_kedro.saliency.panoramas import PanoramaSource
from ssl_kedro.saliency.sources.config import JoinedConfig, SourceConfig
from ssl_kedro.saliency.sources.open import open_source


class ImageSourceDataset(SourceDataset[ImageSet]):
    """Images of a source as a uint8 store, read-only.

    Args:
        split: "pretrain", "train" or "eval".
        data: fields of :class:`ssl_kedro.images.load.DataConfig`.
        seed: of subsets, splits and generated images.
        entry: takes ``data`` as the named configurations of ``transfer.data`` and reads this one.
        size: side in px to resize to, in place of the configuration's own.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "an image source is read-only; write images with other tools"

    def __init__(
        self,
        *,
        split: Split,
        data: dict[str, Any],
        seed: int = 0,
        entry: str | None = None,
        size: int | None = None,
        **files: Any,
    ) -> None:
        super().__init__(**files)
        if entry is not None and entry not in data:
            known = ", ".join(sorted(data)) or "none"
            raise DatasetError(f"there is no image source named {entry!r}; known: {known}")
        chosen = data if entry is None else data[entry]
        config = TypeAdapter(DataConfig).validate_python(dict(chosen))
        self._config = config if size is None else dataclasses.replace(config, size=size)
        self._split, self._seed, self._entry = split, seed, entry

    def load(self) -> ImageSet:
        """Decode the images; see :func:`ssl_kedro.images.load.load_images`."""
        with self._named():
            return load_images(self._config, self._split, self._seed, self._storage_options)

    def look(self) -> int | None:
        """How many, see :func:`~ssl_kedro.images.load.count_images`; None for those elsewhere."""
        config = self._config
        if is_remote(config.root):
            return None
        with self._named():
            return count_images(config, self._split, self._seed)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name the keys of the entry."""
        try:
            yield
        except SettingError as error:
            if self._entry is not None:
                error.stand_in(f"transfer.data.{self._entry}")
            raise

    def _describe(self) -> dict[str, Any]:
        config = self._config
        return {"source": config.source, "split": self._split, "root": config.root}


class PanoramaSourceDataset(SourceDataset[PanoramaSource]):
    """A source of panoramas: its files found, none decoded.

    Args:
        name: of the source.
        own: name of the run's own data.
        data: its configuration, of one source or several.
        unlabelled: further configurations by name.
        also_test_on: further configurations by name.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "a source of panoramas is read-only"

    def __init__(
        self,
        *,
        name: str,
        own: str,
        data: dict[str, Any],
        unlabelled: dict[str, Any] | None = None,
        also_test_on: dict[str, Any] | None = None,
        **files: Any,
    ) -> None:
        super().__init__(**files)
        self._name, self._own = name, own
        self._configs = {own: data, **(unlabelled or {}), **(also_test_on or {})}
        self._opened: PanoramaSource | None = None

    def load(self) -> PanoramaSource:
        """See :func:`ssl_kedro.saliency.sources.open.open_source`."""
        if self._opened is None:
            self._opened = open_source(self._config(), self._storage_options)
        return self._opened

    def look(self) -> PanoramaSource | None:
        """As loaded; None where it would have to be downloaded."""
        elsewhere = any(is_remote(part.root) for part in self._config().parts)
        return None if elsewhere else self.load()

    def _release(self) -> None:
        self._opened = None

    def _config(self) -> SourceConfig:
        kind = JoinedConfig if self._name == self._own else SourceConfig
        return TypeAdapter(kind).validate_python(dict(self._configs[self._name]))

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}


class MapFolderDataset(SourceDataset[MapFolder]):
    """Somebody else's saliency maps of one data set: listed, none decoded.

    Args:
        model: what they are called.
        name: of the data set.
        own: name of the run's own data, which one folder alone is for.
        models: of the parameters, whose ``folder`` says where the maps lie.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "maps of another predictor are read-only"

    def __init__(
        self, *, model: str, name: str, own: str, models: dict[str, Any], **files: Any
    ) -> None:
        super().__init__(**files)
        folder = (models.get(model) or {}).get("folder")
        self._folder = folder.get(name) if isinstance(folder, dict) else folder
        if isinstance(folder, str) and name != own:
            self._folder = None

    def load(self) -> MapFolder:
        """See :class:`ssl_kedro.saliency.given_maps.MapFolder`."""
        if self._folder is None:
            raise DatasetError("no folder of maps is named: set the model's folder")
        return MapFolder(Path(self._folder).expanduser())

    def look(self) -> MapFolder | None:
        """As loaded; None without a folder."""
        return self.load() if self._exists() else None

    def _exists(self) -> bool:
        return self._folder is not None and Path(self._folder).expanduser().is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folder}


class RetrievalSetDataset(SourceDataset[RetrievalSet]):
    """A retrieval task: its files found, none decoded.

    Args:
        name: of the task.
        datasets: tasks by name.
        dataset: name and fields that change the entry of that name.
        seed: of generated images and of draws.
        descriptors: a user's own; where they name files, images are not looked for.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "a retrieval task is read-only"

    def __init__(
        self,
        *,
        name: str,
        datasets: dict[str, Any],
        dataset: dict[str, Any],
        seed: int = 0,
        descriptors: dict[str, Any] | None = None,
        **files: Any,
    ) -> None:
        super().__init__(**files)
        self._name, self._seed = name, seed
        self._images = not (descriptors or {}).get("database")
        self._datasets, self._dataset = datasets, dataset
        self._found: RetrievalSet | None = None

    def load(self) -> RetrievalSet:
        """See :func:`ssl_kedro.retrieval.sets.retrieval_set`."""
        if self._found is None:
            self._found = retrieval_set(
                self._name,
                self._config(),
                self._seed,
                images=self._images,
                storage_options=self._storage_options,
            )
        return self._found

    def look(self) -> RetrievalSet | None:
        """As loaded; None where it would have to be downloaded."""
        config = self._config()
        elsewhere = is_remote(config.ground_truth) or (self._images and is_remote(config.root))
        return None if elsewhere else self.load()

    def _release(self) -> None:
        self._found = None

    def _config(self) -> RetrievalDataConfig:
        return effective_config(self._datasets, self._dataset, self._name)

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name}


class _WeightsDataset(SourceDataset[Value]):
    """A network from a file that the parameters name; ``config`` says where it lies, or nothing."""

    config: FrozenEncoderConfig | InitialWeights | None

    @property
    def names_file(self) -> bool:
        """Whether the parameters name a file."""
        return getattr(self.config, "needs_file", self.config is not None)

    def read_beside(self) -> bytes:
        """What an earlier run has left in the folder of its encoder.

        Raises:
            OSError: nothing is there, as with published weights.
        """
        file = (self.config and self.config.file) or ""
        return (Path(file).expanduser() / "origin.json").read_bytes()

    def _exists(self) -> bool:
        return self.config is not None and self.config.present


class FrozenEncoderDataset(_WeightsDataset[MapNetwork]):
    """A frozen encoder, ready.

    Args:
        name: of the encoder.
        encoders: configurations by name.
        seed: of random weights.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "a frozen encoder is read-only"
    config: FrozenEncoderConfig

    def __init__(
        self,
        *,
        name: str,
        encoders: dict[str, Any],
        seed: int = 0,
        **files: Any,
    ) -> None:
        super().__init__(**files)
        self.config = TypeAdapter(DescribedEncoderConfig).validate_python(dict(encoders[name]))
        self._name, self._seed = name, seed

    def load(self) -> MapNetwork:
        """See :func:`ssl_kedro.encoders.frozen.frozen_encoder`."""
        return frozen_encoder(self.config, self._seed, self._storage_options)

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name, "kind": self.config.kind, "file": self.config.file}


class GivenEncoderDataset(_WeightsDataset[MapNetwork]):
    """A trained encoder that parameters name among others that are made; read-only.

    Args:
        name: of the encoder.
        encoders: configurations by name; without a file there is nothing here.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "an earlier run's encoder is read-only"
    config: FrozenEncoderConfig | None

    def __init__(self, *, name: str, encoders: dict[str, Any], **files: Any) -> None:
        super().__init__(**files)
        values = encoders.get(name) or {}
        self.config = FrozenEncoderConfig.among(values) if values.get("file") else None
        self._name = name

    def load(self) -> MapNetwork:
        """See :func:`ssl_kedro.encoders.frozen.frozen_encoder`."""
        if self.config is None:
            raise DatasetError(f"there is no file: set encoders.{self._name}.file")
        return frozen_encoder(self.config, 0, self._storage_options)

    def look(self) -> MapNetwork | None:
        """As loaded; None where it would have to be downloaded."""
        return None if self.config is None or is_remote(self.config.file) else self.load()

    def _describe(self) -> dict[str, Any]:
        return {"name": self._name, "filepath": self.config and self.config.file}


class InitialEncoderDataset(_WeightsDataset[Encoder]):
    """The trained encoder whose weights others begin with.

    Args:
        encoder: of the parameters; its ``init`` says where the weights lie. Where it names a
            catalog entry or is None, there is nothing here.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "weights to begin with are read-only"
    config: InitialWeights | None

    def __init__(self, *, encoder: dict[str, Any], **files: Any) -> None:
        super().__init__(**files)
        place = place_of_weights(encoder.get("init"))
        made = TypeAdapter(InitialWeights).validate_python
        self.config = None if place is None or isinstance(place, str) else made(place)

    def load(self) -> Encoder:
        """See :func:`ssl_kedro.encoders.frozen.trained_encoder`."""
        if self.config is None:
            raise DatasetError("encoder.init names no file")
        encoder: Any = trained_encoder(self.config, self._storage_options)
        # What results say they were made from: another file may come to lie in its place.
        encoder.fingerprint = weight_fingerprint(encoder)
        found: Encoder = encoder
        return found

    def _describe(self) -> dict[str, Any]:
        return {"filepath": None if self.config is None else self.config.file}


class TeacherDataset(InitialEncoderDataset):
    """A trained encoder that parameters name as a teacher.

    Args:
        name: of the teacher.
        distillation: of the parameters; its ``files`` say where the weights lie.
        files: how they are reached; see :class:`ssl_kedro.datasets.base.SourceDataset`.
    """

    refusal = "a teacher is read-only"

    def __init__(self, *, name: str, distillation: dict[str, Any], **files: Any) -> None:
        super().__init__(encoder={"init": (distillation.get("files") or {}).get(name)}, **files)

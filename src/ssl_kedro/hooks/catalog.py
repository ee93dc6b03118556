"""What a run asks of the catalog that it cannot give, told before the run starts."""

from collections.abc import Iterator, Mapping
from typing import Any

from kedro.io import AbstractDataset, DataCatalog
from kedro.pipeline import Pipeline

from ssl_kedro.core.errors import UserError, first_few


class VersionError(UserError, ValueError):
    """A version that cannot be loaded.

    Cause: ``--load-versions`` names a version that is not there, or an entry that keeps none.
    Remedy: take a version that the message lists, or give the entry ``versioned: true``.
    """


def check_catalog(
    pipeline: Pipeline, catalog: DataCatalog, load_versions: Mapping[str, str] | None
) -> None:
    """Make all datasets that a run reads and writes, which the runner does once it is tracked.

    Kedro itself passes over a version of what keeps none or what the run does not read.

    Raises:
        DatasetError: one of them cannot be made; its cause names scheme or package that is missing.
        VersionError: a version to load that is not there; names those that are.
    """
    datasets = {name: [None, *layers(catalog.get(name))][-1] for name in pipeline.datasets()}
    for name, wanted in (load_versions or {}).items():
        version = getattr(datasets.get(name), "_version", None)
        if version is None or version.load != wanted:
            kept = sorted(of for of, found in datasets.items() if getattr(found, "_version", None))
            raise VersionError(
                f"--load-versions {name}: this run reads no versions of it; it reads those of "
                f"{first_few(kept) or 'nothing'}. Give its entry in the catalog versioned: true"
            )
        if not catalog.exists(name):
            known = datasets[name].list_versions(full_path=False)
            raise VersionError(
                f"--load-versions {name}:{wanted}: there is no such version; known: "
                f"{first_few(known) or 'none'}"
            )


def layers(dataset: Any) -> Iterator[Any]:
    """A dataset, what it is wrapped round, as a cache is, and so on."""
    while dataset is not None:
        yield dataset
        inner = getattr(dataset, "_dataset", None)  # of others a configuration may have that name
        dataset = inner if isinstance(inner, AbstractDataset) else None

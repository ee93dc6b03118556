"""One file adds one thing: modules of a package, and those that other installed packages add."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def module_names(package: str) -> list[str]:
    """Full names of the modules that add something of a kind, own ones first.

    A package of its own adds to ours by an entry point whose group is our package's name and whose
    value is its module::

        [project.entry-points."ssl_kedro.methods"]
        my_method = "my_package.my_method"

    Processes started by a training find it as well.

    Args:
        package: "ssl_kedro.methods", say. Its modules are named, not imported.
    """
    path = importlib.import_module(package).__path__
    own = [f"{package}.{found.name}" for found in pkgutil.iter_modules(path)]
    return [*own, *sorted({entry.module for entry in entry_points(group=package)} - {*own})]


def modules(package: str) -> Iterator[ModuleType]:
    """The modules of :func:`module_names`, imported one after the other."""
    return map(importlib.import_module, module_names(package))


def classes(package: str, kind: type[T]) -> Iterator[type[T]]:
    """Classes of a kind in the modules that add to a package, abstract ones left out.

    Args:
        package: as in :func:`module_names`.
        kind: their base.
    """
    for module in modules(package):
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, kind) and not inspect.isabstract(found):
                yield found

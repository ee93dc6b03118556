"""Reference pages of the library: the front door, and one page a room with its public modules."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import ssl_kedro

# In the order in which data flow through them.
ROOMS = (
    "images", "augment", "encoders", "gating", "methods", "losses", "training", "evaluation",
    "inference", "retrieval", "saliency", "spherical", "core",
)  # fmt: skip


def api_pages() -> dict[str, str]:
    """File name -> reStructuredText."""
    return {
        "api/front_door.rst": _front_door(),
        **{f"api/{room}.rst": _room(room) for room in ROOMS},
    }


def _front_door() -> str:
    lines = [
        *_heading("The front door", "="),
        "``import ssl_kedro as ssl`` offers what a notebook needs.",
        "",
    ]
    for name in ssl_kedro.__all__:
        found = getattr(ssl_kedro, name)
        kind = "class" if inspect.isclass(found) else "function"
        if inspect.ismodule(found):
            lines += [f":doc:`ssl.{name} <{name}>`", f"   {_first_line(found)}", ""]
        else:
            place = f"{found.__module__}.{found.__qualname__}"
            lines += [
                *_heading(f"ssl.{name}", "-"),
                f".. auto{kind}:: {place}",
                "   :no-index:",
                "",
            ]
    return "\n".join(lines)


def _room(room: str) -> str:
    package = importlib.import_module(f"ssl_kedro.{room}")
    lines = [*_heading(room, "="), _first_line(package), ""]
    for name in _module_names(package):
        module = importlib.import_module(name)
        if _public(module):
            lines += [
                *_heading(name.removeprefix("ssl_kedro."), "-"),
                f".. automodule:: {name}",
                "   :members:",
                "   :ignore-module-all:",
                "",
            ]
    return "\n".join(lines)


def _module_names(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return sorted(one.name for one in found if not one.name.rsplit(".", 1)[-1].startswith("_"))


def _public(module: ModuleType) -> list[str]:
    """Names that a module itself defines and documents."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and getattr(value, "__module__", None) == module.__name__
        and getattr(value, "__doc__", None)
    ]


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0]


def _heading(text: str, line: str) -> list[str]:
    shown = text.replace("_", r"\_")
    return [shown, line * len(shown), ""]

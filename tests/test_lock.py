"""The lock: all that a run needs, by hash, and nothing of where it comes from."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+)", LOCK, re.MULTILINE)
}


def asked(extra: str = "") -> Iterator[Requirement]:
    """Requirements of the core, or of an extra and those that it is made of."""
    for line in PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == "ssl-kedro":
            for inner in requirement.extras:
                yield from asked(inner)
        else:
            yield requirement


def test_every_line_is_a_version_its_hashes_or_a_comment() -> None:
    entry = re.compile(
        r"[A-Za-z0-9._-]+==[^ ]+( ; [^\\]+)? \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+\n"
    )
    rest = entry.sub("", LOCK)
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert len(entry.findall(LOCK)) == len(PINNED) > 100
    assert "://" not in LOCK


def test_what_a_run_asks_for_is_pinned_within_its_range() -> None:
    for requirement in (*asked(), *asked("run")):
        version = PINNED[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_what_these_packages_need_is_pinned_too() -> None:
    """As far as they are installed here: no package brings another that is not in the lock."""
    waiting = [*asked(), *asked("run")]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if (name, *sorted(extras)) in seen:
            continue
        seen.add((name, *sorted(extras)))
        assert name in PINNED, name
        try:
            needed = map(Requirement, requires(name) or ())
        except PackageNotFoundError:
            continue
        for one in needed:
            if one.marker is None or any(one.marker.evaluate({"extra": of}) for of in extras):
                waiting.append(one)


@pytest.mark.parametrize("name", ["pytest", "mypy", "ruff", "lightly", "openvino"])
def test_nothing_that_only_developers_need_is_in_it(name: str) -> None:
    assert name not in PINNED

"""Modules that add something: own ones, and those of other installed packages."""

from pathlib import Path

import pytest

from outside.packages import installed
from ssl_kedro.core.plugins import module_names, modules


def test_own_modules_come_first_and_are_not_imported_by_naming_them() -> None:
    names = module_names("ssl_kedro.losses")
    assert "ssl_kedro.losses.vicreg" in names
    assert all(name.startswith("ssl_kedro.losses.") for name in names)


def test_a_module_of_an_installed_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "ssl_kedro.losses", "outside_loss", "ADDED = 7\n")
    assert "outside_loss" not in module_names("ssl_kedro.losses")
    monkeypatch.syspath_prepend(tmp_path)
    assert module_names("ssl_kedro.losses")[-1] == "outside_loss"
    assert [m.ADDED for m in modules("ssl_kedro.losses") if hasattr(m, "ADDED")] == [7]

from __future__ import annotations

import sys

import pytest
from kedro.io import DatasetError

from conftest import Project
from ssl_kedro.hooks.project import mendable_message, shorten_errors
from ssl_kedro.images.load import ImageSourceError
from ssl_kedro.pipelines.parameters import ParameterError


def wrapped() -> DatasetError:
    """An image error as Kedro hands it on."""
    try:
        try:
            raise ImageSourceError("root", "/x", "nothing", "a folder", "give one")
        except ImageSourceError as error:
            raise DatasetError("Failed while loading data") from error
    except DatasetError as error:
        return error


def test_message_of_the_cause_is_found_below_the_framework() -> None:
    message = mendable_message(wrapped())
    assert message is not None
    assert message.startswith("data.root = '/x': found nothing; expected a folder")


def test_a_setting_is_named_by_its_pipeline_wherever_the_message_names_it() -> None:
    error = ImageSourceError("root", "/x/data.root", "data.roots", "a folder", "set data.root")
    error.stand_under("dual_gating")
    error.stand_under("dual_gating")
    assert str(error) == (
        "dual_gating.data.root = '/x/data.root': found data.roots; expected a folder. "
        "To solve it, set dual_gating.data.root."
    )


def test_programming_errors_keep_their_traceback() -> None:
    assert mendable_message(ZeroDivisionError("x")) is None
    assert mendable_message(ValueError("x")) is None


def test_uncaught_user_errors_print_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fallen_back: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _k, error, _t: fallen_back.append(error))
    monkeypatch.delenv("SSL_KEDRO_TRACEBACK", raising=False)
    shorten_errors()
    shorten_errors()  # wrapped once only
    sys.excepthook(ParameterError, ParameterError("lr is wrong"), None)
    assert "Error: lr is wrong" in capsys.readouterr().err
    assert fallen_back == []
    unexpected = KeyError("bug")
    sys.excepthook(KeyError, unexpected, None)
    assert fallen_back == [unexpected]


def test_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.excepthook
    monkeypatch.setattr(sys, "excepthook", before)
    monkeypatch.setenv("SSL_KEDRO_TRACEBACK", "1")
    shorten_errors()
    assert sys.excepthook is before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "cifar01"), "--env cifar01: there is none; did you mean 'cifar10'? known: base"),
        (("--pipeline", "dual_gatin"), "did you mean 'dual_gating'? known: dual_gating, dynamic"),
        (("--params", "dual_gatin.seed=3"), "--params dual_gatin: there is none; did you mean"),
        (("--params", "seed=3"), "--params seed: did you mean 'dual_gating.seed'?"),
    ],
)
def test_a_name_that_is_not_known_ends_the_run_with_the_nearest_one(
    bare_project: Project, arguments: tuple[str, ...], message: str
) -> None:
    done = bare_project.kedro("run", *arguments)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert message in said
    assert "Traceback" not in said
    assert not (bare_project.path / "data").exists()
    assert not (bare_project.path / "mlflow.db").exists()


def test_a_key_names_the_section_that_it_stands_in() -> None:
    """A data set to transfer to is not the run's own, wherever the message names a key."""
    error = ImageSourceError(
        "root", "/x/data.root", "data.roots", "a folder", "or data.labels=none"
    )
    error.stand_in("transfer.data.CIFAR-100")
    error.stand_under("dual_gating")
    assert str(error).startswith("dual_gating.transfer.data.CIFAR-100.root = '/x/data.root'")
    assert str(error).endswith("or transfer.data.CIFAR-100.labels=none.")

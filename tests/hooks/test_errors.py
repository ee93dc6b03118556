from __future__ import annotations

import sys

import pytest
from kedro.io import DatasetError

from ssl_kedro.hooks.project import ErrorMessageHook, mendable_message
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


def test_programming_errors_keep_their_traceback() -> None:
    assert mendable_message(ZeroDivisionError("x")) is None
    assert mendable_message(ValueError("x")) is None


def test_uncaught_user_errors_print_one_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fallen_back: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _k, error, _t: fallen_back.append(error))
    monkeypatch.delenv("SSL_KEDRO_TRACEBACK", raising=False)
    ErrorMessageHook().after_context_created()
    ErrorMessageHook().after_context_created()  # wrapped once only
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
    ErrorMessageHook().after_context_created()
    assert sys.excepthook is before

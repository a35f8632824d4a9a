"""Errors of a command are one line with a status, and errors of workers have their type again."""

import logging

import pytest

from pipeline.cli.console import _is_relevant, _shorten_retry, run_command, unwrap_worker_errors
from transforms.errors import OutOfMemoryError, OutputError, SettingError


def fail(error):
    raise error


@pytest.mark.parametrize(
    "error, status", [(SettingError("a: b"), 2), (OutputError("a: b"), 1), (OutOfMemoryError("a: b"), 1)]
)
def test_an_error_of_this_project_is_one_line_with_a_status(capsys, error, status):
    assert run_command("pipeline.run", lambda: fail(error)) == status
    assert capsys.readouterr() == ("", "pipeline.run: error: a: b\n")


def test_other_errors_are_raised_and_statuses_returned():
    assert run_command("pipeline.run", lambda: 4) == 4
    with pytest.raises(ZeroDivisionError):
        run_command("pipeline.run", lambda: fail(ZeroDivisionError()))


@pytest.mark.parametrize(
    "text, kind, message",
    [
        ("Traceback\ntransforms.errors.OutputError: a: full [while running 'W']\n", OutputError, "a: full"),
        ("transforms.errors.SettingError: first\ntransforms.errors.SettingError: last", SettingError, "last"),
        ("transforms.errors.OutOfMemoryError: too small", OutOfMemoryError, "too small"),
    ],
)
def test_the_text_of_a_workers_error_is_an_error_again(text, kind, message):
    with pytest.raises(kind) as caught, unwrap_worker_errors():
        raise RuntimeError(text)
    assert str(caught.value) == message


def test_errors_of_this_process_lose_what_beam_appends_and_others_stay():
    with pytest.raises(OutputError, match=r"^a: full$"), unwrap_worker_errors():
        raise OutputError("a: full [while running 'WriteFeatures']")
    with pytest.raises(RuntimeError, match=r"transforms\.errors\.ClipError"), unwrap_worker_errors():
        raise RuntimeError("transforms.errors.ClipError: a clip")


def record(message, error=None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("beam", logging.WARNING, "file", 1, message, (), info)


def test_noise_and_errors_that_end_the_run_are_not_logged():
    assert _is_relevant(record("a worker is slow")) and _is_relevant(record("a", ValueError("b")))
    assert not _is_relevant(record("No semi_persistent_directory found: x"))
    assert not _is_relevant(record("failed", OutputError("full")))


def test_a_retry_is_logged_in_one_line():
    retry = record("Retry with exponential backoff:\n waiting\nTraceback for above exception: x\ny")
    assert _shorten_retry(retry) and retry.getMessage() == "Retry with exponential backoff: waiting"

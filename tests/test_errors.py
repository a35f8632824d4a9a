import pytest

from transforms import redact
from transforms.errors import ClipError, OutOfMemoryError, OutputError, Reason, SettingError


@pytest.fixture
def secret(monkeypatch) -> str:
    monkeypatch.setattr(redact, "_remembered", {})
    monkeypatch.setattr(redact, "_pattern", None)
    redact.remember_environment({"MY_SECRET": "secret-of-eight"})
    return "secret-of-eight"


@pytest.mark.parametrize("kind", [SettingError, OutputError, OutOfMemoryError])
def test_a_message_is_one_line_that_is_safe_to_print(kind, secret):
    assert str(kind(f" a\nb\x1b {secret}\n")) == "a\\nb\\u001b ***"
    assert str(kind(ValueError("x"))) == "x"


def test_the_error_of_a_clip_has_a_reason_and_no_secret(secret):
    error = ClipError(Reason.CORRUPT, f"é\n{secret}")
    assert error.reason is Reason.CORRUPT and str(error) == "é\n***"


def test_the_reasons_are_those_in_the_lists_of_rejects():
    assert [reason.value for reason in Reason] == [reason.name.lower() for reason in Reason]
    assert Reason("duplicate") is Reason.DUPLICATE and Reason.DUPLICATE == "duplicate"

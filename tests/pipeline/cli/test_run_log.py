"""The log of a run has what happened with times and levels, and no secrets; a local one appears at once."""

import logging
import re

import psutil
import pytest

from pipeline.cli.run_log import RUN_LOG, run_log
from transforms.redact import remember_option


def test_records_of_all_loggers_have_time_level_and_name(tmp_path, caplog):
    path = tmp_path / "log.txt"
    path.write_text("the run before")
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    with run_log(str(path)):
        RUN_LOG.info("weights: %s", "random:0")
        logging.getLogger("library").warning("two\nlines \x1b[31m")
        logging.getLogger("library").debug("details")
        lines = path.read_text().splitlines()  # at once, for a run that is killed
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 "
    assert [re.sub(pattern, "TIME ", line) for line in lines] == [
        "TIME INFO audioset-beam: weights: random:0",
        "TIME WARNING library: two",
        "lines \\u001b[31m",
    ]
    assert (root.level, root.handlers) == (level, handlers)
    RUN_LOG.warning("afterwards")
    assert path.read_text().splitlines() == lines


def test_an_error_is_logged_with_its_traceback(tmp_path):
    with pytest.raises(ValueError), run_log(str(tmp_path / "log.txt")):
        raise ValueError("broken")
    text = (tmp_path / "log.txt").read_text()
    assert "ERROR audioset-beam: the run failed" in text and text.endswith("ValueError: broken\n")


def test_secrets_are_hidden(tmp_path):
    remember_option("s3_secret_access_key", "very-secret-word")
    with run_log(str(tmp_path / "log.txt")):
        logging.getLogger("library").warning("the key is very-secret-word")
    assert "very-secret-word" not in (tmp_path / "log.txt").read_text()


def test_elsewhere_the_log_appears_at_the_end(monkeypatch):
    from pipeline.cli import run_log as module

    written = {}
    monkeypatch.setattr(module, "write_atomic", lambda path, data: written.update({path: data}))
    with run_log("gs://bucket/out/_run/log.txt"):
        RUN_LOG.info("one")
        assert written == {}
    assert written["gs://bucket/out/_run/log.txt"].endswith(b"INFO audioset-beam: one\n")


@pytest.mark.parametrize("path", ["/dev/full", "/does-not-exist/log.txt"])
def test_an_error_of_the_log_is_one_warning_and_does_not_end_the_run(path, capsys):
    handlers, others = list(RUN_LOG.handlers), []
    seen = logging.Handler()
    seen.emit = lambda record: others.append(record.getMessage())
    RUN_LOG.addHandler(seen)
    try:
        with run_log(path):
            RUN_LOG.info("one")
            RUN_LOG.info("two")
    finally:
        RUN_LOG.removeHandler(seen)
    assert others == ["one", "two"] and RUN_LOG.handlers == handlers
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path}: the log cannot be written ([Errno ")


def test_a_log_that_a_store_refuses_is_a_warning(monkeypatch, capsys):
    def refuse(path, data):
        raise OSError("403 Forbidden")

    monkeypatch.setattr("pipeline.cli.run_log.write_atomic", refuse)
    with run_log("gs://bucket/out/_run/log.txt"):
        RUN_LOG.info("one")
    assert capsys.readouterr().err == (
        "warning: gs://bucket/out/_run/log.txt: the log cannot be written (403 Forbidden); the run goes on\n"
    )


def test_the_log_is_not_open_between_records(tmp_path):
    """The folder's filesystem can be mounted read-only during a run."""
    path = str(tmp_path / "log.txt")
    with run_log(path):
        RUN_LOG.info("one")
        assert path not in {file.path for file in psutil.Process().open_files()}

"""Foreign text in the output cannot move the cursor, add a line, or hide or reorder anything."""

import contextlib
import io
import json
import logging
import os
import pty
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import console
from pipeline.cli.config_file import config_text
from pipeline.cli.text import format_table, print_result
from pipeline.statistics.tables import Table, markdown_text
from transforms.errors import OutOfMemoryError, OutputError, SettingError
from transforms.printable import (
    Attention,
    PrintableStream,
    counted,
    has_colours,
    is_terminal,
    json_text,
    make_streams_printable,
    printable,
    printable_lines,
    raw_stream,
    say,
)

# Written out here, since the sources have them as ranges.
UNSAFE = [
    *map(chr, [*range(0x20), *range(0x7F, 0xA0)]),
    *"\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff",
    *map(chr, (0xD800, 0xDC80, 0xDFFF)),
]
ORDINARY = (
    "é ß 日本語 العربية עברית می\u200cخواهم 👩\u200d🔬 "  # noqa: RUF001
    "🏴\U000e0067\U000e0062\U000e007f $ _ \\ % { } < > & ' \""
)
# As likely as letters, so that a test meets them.
TEXTS = st.text(st.one_of(st.sampled_from(UNSAFE), st.characters(), st.sampled_from("ab\\\"'#:[]{}|`*_")))


def assert_safe(text: str, newlines: int) -> None:
    assert text.count("\n") == newlines
    assert not set(text.replace("\n", "")) & set(UNSAFE)
    text.encode()  # and any stream takes it


@pytest.mark.parametrize("character", UNSAFE)
def test_each_unsafe_character_is_escaped_as_json_does(character):
    shown = printable(f"a{character}b")
    assert shown.isascii() and shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{character}b"


def test_ordinary_text_of_any_script_stays_as_it_is():
    assert printable(ORDINARY) == printable_lines(ORDINARY) == ORDINARY


def test_escaped_text_does_not_change():
    shown = printable("".join(UNSAFE) + "\\")
    assert printable(shown) == shown


@given(TEXTS, TEXTS)
def test_each_argument_is_one_line(one, other):
    stream = io.StringIO()
    say(one, other, file=stream)
    assert_safe(stream.getvalue(), 2)


@given(TEXTS)
def test_a_stream_keeps_only_newlines_unescaped(text):
    raw = io.StringIO()
    stream = PrintableStream(raw)
    print(text, end="", file=stream)
    stream.writelines([text, "\n"])
    assert_safe(raw.getvalue(), 2 * text.count("\n") + 1)


@given(st.dictionaries(TEXTS, st.one_of(TEXTS, st.lists(TEXTS))))
def test_json_is_safe_to_print_and_exact(value):
    assert_safe(json_text(value), 0)
    assert json.loads(json_text(value)) == json.loads(json_text(value, 2)) == value
    lines = json_text(value, 2).split("\n")
    assert lines == printable_lines("\n".join(lines)).split("\n")


@pytest.mark.parametrize("kind", [SettingError, OutputError, OutOfMemoryError])
@given(TEXTS)
def test_an_error_of_our_own_is_one_line(kind, text):
    error = kind(f"{text}: no such file; check the path")
    assert_safe(str(error), 0)
    assert str(kind(error)) == str(error)


@pytest.mark.parametrize("kind", [SettingError, OutputError, OutOfMemoryError])
@given(TEXTS)
def test_an_error_of_a_worker_is_complete_whatever_a_name_contains(kind, text):
    first = kind(f"{text}: cannot be read; check it")
    with pytest.raises(kind) as caught, console.unwrap_worker_errors():
        said = f"transforms.errors.{kind.__name__}: {first} [while running 'A']"
        raise RuntimeError(f"Traceback\n  of a worker\n{said}")
    assert str(caught.value) == str(first)


@given(TEXTS)
def test_a_command_that_is_refused_prints_one_line(text):
    def refuse() -> int:
        raise SettingError(f"--input={text}: matches nothing; check it")

    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(io.StringIO()):
        assert console.run_command("pipeline.run", refuse) == 2
    assert_safe(stream.getvalue(), 1)


@given(TEXTS)
def test_logs_are_safe(text):
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        make_streams_printable()
        handler = console._LineHandler()
        record = logging.LogRecord("apache_beam", logging.WARNING, __file__, 1, "%s", (text,), None)
        handler.handle(record)
    shown = stream.getvalue()
    assert_safe(shown, shown.count("\n"))
    assert printable_lines(text) in shown


@given(TEXTS)
def test_a_result_for_a_person_and_for_a_machine(text):
    lines = format_table({"features": f"{text}: 3 shards", "next": f"verify {text}"})
    for as_json in (False, True):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            print_result(lines, {"output": text}, as_json)
        assert_safe(stream.getvalue(), 3 if as_json else 2)
    assert json.loads(stream.getvalue()) == {"output": text}


@given(TEXTS, st.lists(TEXTS))
def test_a_printed_config_loads_as_the_same_values(text, texts):
    shown = config_text({"output": text, "input": texts}, [], None, [])
    assert_safe(shown, 1)
    assert yaml.safe_load(shown) == {"output": text, "input": texts}


def test_a_printed_config_keeps_ordinary_text_and_names_a_file_of_any_name(tmp_path):
    path = tmp_path / "a\n\x1b[31mb: c.yaml"
    path.write_text("split: eval")
    shown = config_text({"output": "/é/日本語😀", "split": "eval"}, [], str(path), ["--output=x"])
    assert shown.splitlines()[0] == "output: /é/日本語😀  # command line"
    assert_safe(shown, 1)
    assert yaml.safe_load(shown) == {"output": "/é/日本語😀", "split": "eval"}


@given(TEXTS)
def test_a_name_is_not_parsed_as_markdown(text):
    (line,) = [markdown_text(text)]
    assert_safe(line, 0)
    if line != printable(text):
        fence = line[: len(line) - len(line.lstrip("`"))]
        assert line.endswith(fence) and len(line) > 2 * len(fence)
        assert fence not in printable(text)  # so that nothing in it ends the code
        assert printable(text) in line
    else:
        assert not set(line) & set("\\`*<>[]&~$")


def test_ordinary_names_do_not_change_in_tables():
    assert [*map(markdown_text, ("Male speech, man speaking", "dog_bark", "/data/features"))] == [
        "Male speech, man speaking",
        "dog_bark",
        "/data/features",
    ]
    assert markdown_text("/data/**/*.wav") == "`/data/**/*.wav`"
    lines = [*Table("Labels", ("label",), [("a\\|b",)]).lines()]
    assert lines[-2] == "| a\\|b  |"


def test_streams_are_made_printable_once_and_keep_their_other_attributes(monkeypatch):
    out, err = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    make_streams_printable()
    make_streams_printable()
    assert raw_stream(sys.stdout) is out and raw_stream(sys.stderr) is err and raw_stream(out) is out
    assert sys.stderr.encoding == "ascii" and not sys.stderr.isatty() and sys.stderr.buffer is err.buffer
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where the descriptor is closed
    make_streams_printable()
    assert sys.stdout is None


def test_a_number_has_its_noun_in_the_singular_or_plural():
    assert [counted(number, "shard") for number in (0, 1, 1_234)] == ["0 shards", "1 shard", "1,234 shards"]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]


def test_attention_is_in_colour_on_a_terminal_only(monkeypatch):
    def shown(**environment: str) -> str:
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w") as terminal:
            say("one", Attention("two\x1b"), "three", file=PrintableStream(terminal), flush=True)
            text = ""
            while not text.endswith("three\r\n"):
                text += os.read(ours, 1000).decode()
        os.close(ours)
        return text.replace("\r", "")

    assert shown(TERM="xterm") == "one\n\x1b[33mtwo\\u001b\x1b[0m\nthree\n"
    plain = "one\ntwo\\u001b\nthree\n"
    for environment in ({}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        assert shown(**environment) == plain
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    say("one", Attention("two\x1b"), "three", file=stream)
    assert stream.getvalue() == plain


def test_a_closed_or_missing_stream_has_no_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    stream.close()
    for none in (stream, None):
        assert not is_terminal(none) and not has_colours(none)
    monkeypatch.setattr(sys, "stdout", None)
    say("nothing")


def test_a_row_of_a_table_that_needs_attention_keeps_it():
    first, second = format_table({"a": "b", "long": Attention("c")})
    assert (first, second) == ("a     b", "long  c")
    assert isinstance(second, Attention) and not isinstance(first, Attention)

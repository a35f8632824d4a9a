"""The configs load and every line has a comment; --print_config shows the resolved options."""

import re
from pathlib import Path

import pytest
import yaml

from pipeline import run
from pipeline.cli.options import parse_options

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))
assert {"local", "audioset", "long_recordings"} <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_loads(path):
    given = yaml.safe_load(path.read_text())
    options = parse_options([f"--config={path}", "--input=a", "--output=b"])
    for key in given.keys() - {"input", "output", "segments"}:
        flags = [f"--{key}={item}" for item in (given[key] if isinstance(given[key], list) else [given[key]])]
        passed = given[key] is True and f"--{key}" in options.beam_flags
        value = getattr(options, key, None)
        value = list(value) if isinstance(value, tuple) else value
        assert value == given[key] or passed or set(flags) <= set(options.beam_flags), key


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_line_of_a_config_is_explained(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    for before, line in zip(["", *lines], lines, strict=False):
        if re.match(r"\w+:", line):
            assert before.startswith("#") or "#" in line, line


def printed(capsys, *argv: str) -> str:
    assert run.run(["--print_config", *argv]) == 0
    return capsys.readouterr().out


def test_print_config_shows_the_source_of_each_value_and_is_a_config(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("input: [a, 'b c']\nbatch_size: 16\nsplit: eval\nrunner: FnApiRunner\n")
    text = printed(
        capsys, f"--config={file}", "--split", "test", "--direct_num_workers=2", "--s3_secret_access_key=xyz"
    )
    lines = dict(line.split(": ", 1) for line in text.splitlines())
    assert lines["input"] == f"[a, b c]  # {file}" and lines["batch_size"] == f"16  # {file}"
    assert lines["split"] == "test  # command line" and lines["direct_num_workers"] == "2  # command line"
    assert lines["runner"] == f"FnApiRunner  # {file}" and lines["resampler"] == "resampy  # default"
    assert lines["output"] == "null  # default" and "xyz" not in text

    again = tmp_path / "again.yaml"
    again.write_text(printed(capsys, f"--config={file}", "--output=out"))
    assert parse_options([f"--config={again}"]) == parse_options([f"--config={file}", "--output=out"])

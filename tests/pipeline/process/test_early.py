"""Commands that answer before their imports."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from commands import ROOT

from pipeline.cli.commands import COMMANDS

HEAVY = ("tensorflow", "keras", "apache_beam", "numpy", "google.auth", "matplotlib")


def run(*command: str) -> tuple[int, str, str, set[str]]:
    """Status, output, error lines and imported packages of a command."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    lines = result.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    said = "\n".join(line for line in lines if not line.startswith("import time:"))
    return result.returncode, result.stdout, said, imported


def check_light(imported: set[str]) -> None:
    assert "pipeline.cli.options" in imported
    assert not [name for name in imported if name.startswith(HEAVY)]


@pytest.mark.parametrize("command", ["pipeline.run", *COMMANDS])
def test_help_imports_nothing_that_takes_long(command):
    status, output, said, imported = run(command, "--help")
    assert (status, said) == (0, "") and output.startswith(f"usage: python -m {command}")
    check_light(imported)


@pytest.mark.parametrize(
    "command, error",
    [
        (
            ["pipeline.run"],
            "pipeline.run: error: --input and --output are required, such as --input='clips/**' "
            "--output=features; see --help",
        ),
        (
            ["pipeline.run", "--input=a", "--output=b", "--runner=DirectRunner", "--precison=float16"],
            "pipeline.run: error: unknown option --precison (did you mean --precision?); see --help",
        ),
        (
            ["pipeline.run", "--input=a", "--output=b", "--direct_num_worker=2"],
            "pipeline.run: error: unknown option --direct_num_worker (did you mean --direct_num_workers?); "
            "see --help",
        ),
        (
            ["pipeline.run", "--input=a", "--output=b", "--runner=dask"],
            "pipeline.run: error: --runner=dask: DaskRunner is refused: it mixes the outputs of a step, and "
            "reports success with a wrong result; use --runner=FnApiRunner, or another runner of "
            "docs/runners.md",
        ),
        (
            ["pipeline.verify", "a", "b"],
            "pipeline.verify: error: give one feature folder, not a and b; see --help",
        ),
    ],
)
def test_a_mistake_is_reported_before_long_imports(command, error):
    status, output, said, imported = run(*command)
    assert (status, output, said) == (2, "", error)
    check_light(imported)


def test_print_config_is_answered_too(tmp_path):
    (tmp_path / "run.yaml").write_text("batch_size: 16\n")
    status, output, said, imported = run(
        "pipeline.run", f"--config={tmp_path}/run.yaml", "--input=a", "--output=b", "--print_config"
    )
    assert (status, said) == (0, "") and f"batch_size: 16  # {tmp_path}/run.yaml" in output
    check_light(imported)


@pytest.mark.parametrize("command", ["pipeline.run", "pipeline.verify"])
def test_the_version_is_answered_by_each_command(command):
    status, output, said, imported = run(command, "--version")
    assert (status, output, said) == (0, f"audioset-beam {version('audioset-beam')}\n", "")
    check_light(imported)


def test_a_value_that_beam_checks_is_checked_by_beam():
    status, _, said, imported = run("pipeline.run", "--input=a", "--output=b", "--direct_num_workers=two")
    assert status == 2 and "--direct_num_workers: invalid int value: 'two'" in said
    assert "apache_beam" in imported and "tensorflow" not in imported

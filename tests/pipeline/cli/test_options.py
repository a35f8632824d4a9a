import contextlib
import io

import pytest

from pipeline.cli.options import parse_options
from transforms.errors import SettingError

REQUIRED = ["--input=a.wav", "--output=out"]


def test_defaults_are_those_of_the_release():
    options = parse_options(REQUIRED)
    assert options.input == ("a.wav",)
    assert (options.split, options.postprocess, options.example_hop_seconds) == ("train", "quantized", 0.96)
    assert options.weights is None and options.pca_params is None and options.segments == ()


def test_inputs_may_repeat_and_be_expanded_by_a_shell():
    options = parse_options(["--input", "a", "b", "--output=out", "--input=c"])
    assert options.input == ("a", "b", "c")


def test_beams_options_are_passed_on():
    flags = ("--runner=FnApiRunner", "--direct_num_workers=2")
    assert parse_options([*REQUIRED, *flags]).beam_flags == flags


def test_input_and_output_are_required():
    for flags, message in (
        (["--input=a.wav"], "--output is required, such as --input='clips/**' --output=features; see --help"),
        (["--output=out"], "--input is required, such as"),
        ([], "--input and --output are required, such as"),
        (["--input=a.wav", "--input_rejects=b.jsonl"], "give either --input or --input_rejects"),
    ):
        with pytest.raises(SettingError) as caught:
            parse_options(flags)
        assert str(caught.value).startswith(message)


def test_help_names_every_own_option():
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as caught:
        parse_options(["--help"])
    assert caught.value.code == 0
    for name in vars(parse_options(REQUIRED)):
        assert name == "beam_flags" or f"--{name}" in output.getvalue()
    assert "examples:" in output.getvalue() and len(output.getvalue().splitlines()) <= 120

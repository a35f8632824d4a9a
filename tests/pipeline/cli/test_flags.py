"""Parsing of command lines: which options there are, and what is shown of them."""

import re
from pathlib import Path

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import run
from pipeline.cli.beam_values import beam_parser
from pipeline.cli.flags import shown_flags
from pipeline.cli.options import parse_options
from transforms import redact, secret_names
from transforms.errors import SettingError

pytestmark = pytest.mark.usefixtures("nothing_remembered")

REQUIRED = ["--input=a.wav", "--output=out"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--ouput=x"], "unknown option --ouput (did you mean --output?)"),
        (["--direct_num_worker=2"], "(did you mean --direct_num_workers?)"),
        (["clip.wav"], "unknown argument clip.wav; for audio, write --input=clip.wav; see --help"),
        (["--batch_size=many"], "--batch_size: invalid int value: 'many'"),
        (["--postprocess=pca"], "invalid choice: 'pca'"),
        (["--precision=int8"], "invalid choice: 'int8'"),
        (["--resampler=sinc"], "invalid choice: 'sinc'"),
        (["--direct_num_workers=two"], "--direct_num_workers: invalid int value"),
    ],
)
def test_a_mistyped_option_is_an_error_that_names_it(flags, message):
    with pytest.raises(SettingError) as caught:
        parse_options([*REQUIRED, *flags])
    assert message in str(caught.value)


SUSPICIOUS = re.compile(
    r"key|secret|token|passw|passphrase|credential|connection_?string|auth|signature|certificate|encrypt|private",
    re.IGNORECASE,
)


# Options whose help has one of these words, and whose value is no secret.
HARMLESS = {"labels", "gcs_custom_audit_entries", "max_parallelism", "s3_verify"}


USER, PASSWORD, SIGNATURE = "someuser", "pa55/word+1", "S1GNATURE+/x=="


def beam_actions():
    return [action for action in beam_parser()._actions if action.nargs != 0]


def test_every_option_of_beam_that_may_be_a_secret_is_in_a_table():
    known = secret_names.SECRET_OPTIONS | secret_names.PAIR_OPTIONS | secret_names.PUBLIC_OPTIONS
    names = set()
    for group in PipelineOptions.__subclasses__():
        parser = beam_parser().__class__(add_help=False)
        group._add_argparse_args(parser)
        for action in parser._actions:
            text = " ".join([action.dest, *action.option_strings, action.help or ""])
            names.add(action.dest)
            if action.nargs != 0 and SUSPICIOUS.search(text):
                assert action.dest in known | HARMLESS, f"{action.dest}: decide what may be shown of it"
    assert known <= names, "an option that Beam has no longer"


@pytest.mark.parametrize(
    "name", ["x_key", "my_token", "db_password", "client_secret", "some_connection_string"]
)
def test_an_unknown_option_that_sounds_like_a_secret_is_hidden(name):
    assert redact.shown_option(name, "abc") == "***"


WAYS = {
    "equals": lambda name, value, folder: [f"--{name}={value}"],
    "space": lambda name, value, folder: [f"--{name}", value],
    "yaml": lambda name, value, folder: [f"--config={write_yaml(folder, name, value)}"],
}


def write_yaml(folder: Path, name: str, value: str) -> Path:
    path = folder / "options.yaml"
    path.write_text(yaml.safe_dump({name: value}))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_no_option_of_beam_shows_a_secret(way, tmp_path, capsys):
    """Every option with a value, given a secret if it is for one, or else an address with a password."""
    checked = set()
    for action in beam_actions():
        for option in action.option_strings:
            value = f"https://{USER}:pw-zq9x@host.example/x?sig=si-zq9x"
            if action.dest in secret_names.SECRET_OPTIONS:
                value = "zq9x"
            elif action.dest in secret_names.PAIR_OPTIONS:
                value = "NAME=zq9x"
            flags = WAYS[way](option[2:], value, tmp_path)
            try:
                assert run.run(["--print_config", *flags]) == 0
            except SettingError as error:  # a number, JSON, or one of some words
                is_plain = type(action).__name__ in ("_StoreAction", "_AppendAction")
                assert action.type is not None or action.choices or not is_plain
                assert "zq9x" not in str(error)
                continue
            printed = capsys.readouterr().out
            assert "zq9x" not in printed and "***" in printed, printed
            assert re.search(rf"^# {option[2:]}: .*\*\*\*", printed, re.MULTILINE), printed
            if way != "yaml":
                (shown,) = shown_flags(flags)
                assert shown.startswith(f"--{option[2:]}=") and "zq9x" not in shown and "***" in shown
            checked.add(action.dest)
    assert {
        *secret_names.SECRET_OPTIONS,
        "blob_service_endpoint",
        "s3_endpoint_url",
        "sdk_location",
    } <= checked


def test_an_abbreviated_option_is_refused_without_its_value(screen):
    for flags in (["--s3_secret=zq9x"], ["--s3_secret", "zq9x"], ["--azure_connection", "zq9x"]):
        status, text = screen(run.run, *flags, "--input=a", "--output=b")
        assert status == 2 and "unknown option --" in text and "zq9x" not in text


def test_a_word_after_a_surplus_space_is_not_shown(screen):
    status, text = screen(run.run, "--s3_secret_access_key=", "zq9x", "--input=a", "--output=b")
    assert status == 2 and "is not shown" in text and "zq9x" not in text

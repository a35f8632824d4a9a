"""Options in a YAML file, and options printed as such a file."""

import re

import pytest
from trial_runs import refusal

from pipeline import run
from pipeline.cli.config_file import config_flags
from pipeline.cli.option_groups import add_run_options
from pipeline.cli.options import parse_options
from transforms.errors import SettingError

pytestmark = pytest.mark.usefixtures("nothing_remembered")

REQUIRED = ["--input=a.wav", "--output=out"]


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "config.yaml").write_text(text)
        return f"--config={tmp_path / 'config.yaml'}"

    return write


def test_a_config_may_have_any_option_and_flags_override_it(config):
    flag = config(
        "input: [a, b]\noutput: from_yaml\nsegments: eval=x.csv\nbatch_size: 16\n"
        "runner: FnApiRunner\ndirect_num_workers: 2\nno_pipeline_type_check: true\n"
    )
    options = parse_options([flag])
    assert (options.input, options.output, options.batch_size) == (("a", "b"), "from_yaml", 16)
    assert options.segments == ("eval=x.csv",)
    assert options.beam_flags == (
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--no_pipeline_type_check",
    )
    options = parse_options([flag, "--input=c", "--batch_size", "32", "--runner=DirectRunner"])
    assert (options.input, options.output, options.batch_size) == (("c",), "from_yaml", 32)
    assert "--runner=FnApiRunner" not in options.beam_flags


@pytest.mark.parametrize(
    "text, message",
    [
        ("inptu: a", "unknown option 'inptu' (did you mean input?)"),
        ("config: other.yaml", "unknown option 'config'"),
        ("[1, 2", "cannot be read"),
        ("just words", "contains no options"),
        ("split: {a: b}", "split is {'a': 'b'}"),
        ("split: true", "split is True"),
        ("1: x", "unknown option 1"),
        ("!!python/object/apply:os.system [exit]", "cannot be read"),
    ],
)
def test_a_bad_config_is_an_error_that_names_file_and_key(config, text, message):
    with pytest.raises(SettingError) as caught:
        parse_options([config(text), *REQUIRED])
    assert message in str(caught.value) and "config.yaml" in str(caught.value)


def test_a_missing_config_is_an_error():
    with pytest.raises(SettingError, match=r"no_such\.yaml"):
        parse_options(["--config=no_such.yaml"])


@pytest.mark.parametrize(
    "text, cause",
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 2: aliases are not supported"),
        ("input: " + "[" * 100_000, "nested more than 8 levels deep"),
        ("input: " + "[" * 9 + "]" * 9, "nested more than 8 levels deep"),
        ("\n".join("- " * 9 for _ in range(2)), "nested more than 8 levels deep"),
        ("#" * (1 << 20) + "\ninput: x", "it has more than 1,048,576 bytes"),
        ("input: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_a_config_that_could_expand_is_one_line(tmp_path, text, cause):
    (tmp_path / "config.yaml").write_text(text)
    message = refusal([f"--config={tmp_path}/config.yaml", f"--output={tmp_path}/out"])
    assert f"config {tmp_path}/config.yaml: cannot be read" in message and cause in message


@pytest.mark.parametrize(
    "text",
    [
        's3_secret_access_key: "zq9x',
        "s3_secret_access_key: !zq9x",
        "s3_secret_access_key: *zq9x",
        "s3_secret_access_key: !!zq9x a",
        "s3_secret_access_key: !zq9x!a b",
        "s3_secret_access_key: {zq9x: 1}",
        "s3_secret_access_key: zq9x: 1",
        "s3_secret_access_key=zq9x: 1",
        "s3_secret_access_key: [zq9x\noutput: b",
        "s3_secret_access_key: @zq9x",
        "s3_secret_access_key: &zq9x a\nb: &zq9x c",
        "s3_secret: zq9x",
        "s3_secret_access_key=zq9x",
    ],
)
def test_a_bad_file_of_options_is_refused_without_its_lines(text, tmp_path, screen):
    (tmp_path / "options.yaml").write_text(text)
    status, printed = screen(run.run, f"--config={tmp_path}/options.yaml", "--input=a", "--output=b")
    assert status == 2 and re.search(r"options\.yaml(, line 1)?: ", printed) and "zq9x" not in printed, (
        printed
    )


def test_options_printed_with_a_secret_are_a_file_that_lacks_it(tmp_path, capsys):
    flags = ["--s3_secret_access_key", "zq9x", "--weights=https://u:p@h/w", "--runner=FnApiRunner"]
    assert run.run(["--print_config", *flags]) == 0
    (tmp_path / "again.yaml").write_text(capsys.readouterr().out)
    again = config_flags(str(tmp_path / "again.yaml"), [], add_run_options)
    assert "--runner=FnApiRunner" in again and not [flag for flag in again if "***" in flag]


def test_a_value_of_the_wrong_form_names_the_line(tmp_path):
    (tmp_path / "config.yaml").write_text("# mine\noutput: out\ninput: [a, b]\nbatch_size: many\n")
    message, where = refusal([f"--config={tmp_path}/config.yaml"]), f"config {tmp_path}/config.yaml, line"
    assert message.startswith(f"{where} 4: --batch_size: invalid int value: 'many'")
    (tmp_path / "config.yaml").write_text("output: out\nprecison: float16\n")
    message = refusal([f"--config={tmp_path}/config.yaml"])
    assert message == f"{where} 2: unknown option 'precison' (did you mean precision?)"

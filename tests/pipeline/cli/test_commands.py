import importlib

import pytest

from pipeline.cli.commands import ANALYZE, COMMANDS, EXPORT_MODEL, FIT_PCA, MAKE_SHARDS, VERIFY
from transforms.errors import SettingError


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_line_is_that_of_a_module(name, capsys):
    command = importlib.import_module(name)
    with pytest.raises(SystemExit) as ended:
        command.run(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {name} ")
    with pytest.raises(SettingError, match="--no_such_option"):
        command.run(["--no_such_option=1"])


@pytest.mark.parametrize(
    "line, argv, message",
    [
        (VERIFY, [], "--features is required, such as --features=/data/features"),
        (VERIFY, ["folder", "--strikt"], "unknown option --strikt (did you mean --strict?)"),
        (VERIFY, ["--strikt", "folder"], "unknown option --strikt (did you mean --strict?)"),
        (VERIFY, ["one", "two"], "give one feature folder, not one and two"),
        (VERIFY, ["one", "--features=two"], "give one feature folder, not two and one"),
        (VERIFY, ["--s3_secret_access_key=", "folder"], "it is not shown because it may be a secret"),
        (VERIFY, ["x", "--root="], "--root=: is not a SHA-256; give the 64 hexadecimal digits"),
        (VERIFY, ["x", f"--root={'0' * 63}g"], f"--root={'0' * 63}g: is not a SHA-256"),
        (VERIFY, ["x", f"--root={'0' * 65}"], f"--root={'0' * 65}: is not a SHA-256"),
        (FIT_PCA, ["--features=x"], "--output is required"),
        (MAKE_SHARDS, ["--input=x", "--output=y"], "--format is required"),
        (MAKE_SHARDS, ["--format=zip"], "invalid choice: 'zip'"),
        (EXPORT_MODEL, [], "--output is required"),
        (EXPORT_MODEL, ["--output=x", "--runner=DirectRunner"], "unrecognized arguments: --runner"),
        (ANALYZE, [], "give either --features or --input"),
        (ANALYZE, ["--features=x", "--input=y"], "give either --features or --input"),
        (ANALYZE, ["--input=x", "--compare=y"], "--compare=y: it compares feature folders"),
        (ANALYZE, ["--features=x", "--segments=y"], "--segments: works with --input only"),
    ],
)
def test_a_mistake_is_one_line(line, argv, message):
    with pytest.raises(SettingError) as caught:
        line.parse(argv)
    assert message in str(caught.value)


def test_options_of_beam_are_apart():
    options, beam_flags = VERIFY.parse(["folder", "--json", "--s3_endpoint_url=http://localhost:1"])
    assert (options.features, options.json) == ("folder", True)
    assert beam_flags == ["--s3_endpoint_url=http://localhost:1"]


@pytest.mark.parametrize(
    "argv",
    [
        ["x"],
        ["--features=x"],
        ["--features", "x"],
        ["--s3_endpoint_url", "http://localhost:1", "x"],
        ["x", "--s3_endpoint_url", "http://localhost:1"],
    ],
)
@pytest.mark.parametrize("line", [VERIFY, ANALYZE, FIT_PCA])
def test_the_feature_folder_needs_no_option(line, argv):
    more = ["--output=y"] if line is FIT_PCA else []
    options, beam_flags = line.parse([*more, *argv])
    assert options.features == "x"
    assert "".join(beam_flags).replace("=", "") in ("", "--s3_endpoint_urlhttp://localhost:1")


def test_shards_have_a_split_only_if_it_is_given():
    required = ["--input=a", "--output=b", "--format=tar"]
    assert MAKE_SHARDS.parse(required)[0].split is None
    assert MAKE_SHARDS.parse([*required, "--split=eval"])[0].split == "eval"
    assert ANALYZE.parse(["--features=x"])[0].split == "train"

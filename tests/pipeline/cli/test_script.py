import subprocess

import pytest

from pipeline.cli.options import parse_options
from pipeline.cli.script import SUBCOMMANDS, choose_command, make_script_parser
from transforms.errors import SettingError


def test_the_first_argument_names_a_command():
    assert choose_command(["verify", "folder", "--json"]) == ("pipeline.verify", ["folder", "--json"])
    assert choose_command(["fit-pca"]) == ("pipeline.fit_pca", [])


@pytest.mark.parametrize(
    "argv, message",
    [
        (
            [],
            "give a command: run, embed, verify, analyze, fit-pca, make-shards, export-model, smoke-test",
        ),
        (["verfy", "folder"], "unknown command 'verfy' (did you mean verify?); see --help"),
        (["fit_pca"], "unknown command 'fit_pca' (did you mean fit-pca?); see --help"),
        (["clip.wav"], "unknown command 'clip.wav'; see --help"),
        (
            ["--input=x", "--output=y"],
            "give a command first, such as audioset-beam run --input=x; see --help",
        ),
        (["--print_completion=fish"], "argument --print_completion: invalid choice: 'fish'"),
    ],
)
def test_another_first_argument_is_a_mistake_in_one_line(argv, message):
    with pytest.raises(SettingError) as caught:
        choose_command(argv)
    assert message in str(caught.value)


def test_help_lists_all_commands(capsys):
    with pytest.raises(SystemExit):
        choose_command(["--help"])
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in SUBCOMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_has_every_command_and_option(capsys, shell):
    with pytest.raises(SystemExit):
        choose_command([f"--print_completion={shell}"])
    script = capsys.readouterr().out
    options = vars(parse_options(["--input=a", "--output=b"])).keys() - {"beam_flags"}
    assert all(name in script for name in ("audioset-beam", *SUBCOMMANDS, "against"))
    if shell != "tcsh":  # whose scripts complete options of subcommands only in part
        assert all(name in script for name in options)
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_subcommands_have_the_options_of_their_command():
    parsed = make_script_parser().parse_args(["verify", "--features=folder", "--strict"])
    assert (parsed.features, parsed.strict) == ("folder", True)

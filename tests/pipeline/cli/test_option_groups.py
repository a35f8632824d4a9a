"""The table of all options: types, choices and defaults, and the tables of the commands that use it."""

import argparse

import pytest

from pipeline.cli import option_groups
from pipeline.cli.commands import COMMANDS
from pipeline.cli.option_groups import add_asset_options, add_options, add_run_options

TABLES = [line.options for line in COMMANDS.values()]


def test_each_row_of_the_table_is_an_option_of_a_command():
    used = {usage.split()[0] for table in (*TABLES, *option_groups._RUN_GROUPS.values()) for usage in table}
    assert used == option_groups._DEFINITIONS.keys()


def test_a_usage_is_a_name_with_its_metavar():
    parser = argparse.ArgumentParser()
    add_options(parser, {"--output DIR": "where to", "--quiet": "no progress"}, required=True)
    output, quiet = parser._actions[1:]
    assert (output.dest, output.metavar, output.help, output.required) == ("output", "DIR", "where to", True)
    assert (quiet.dest, quiet.nargs, quiet.const) == ("quiet", 0, True)
    with pytest.raises(KeyError, match="--no_such"):
        add_options(parser, {"--no_such X": "an option without a definition"})


def test_values_have_the_types_of_their_options():
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    argv = ["--input", "a//b", "c", "--input=d", "--output=file:///x", "--segments=e", "--segments=f"]
    argv += ["--batch_size=8", "--plan", "--segment_seconds=2", "--precision=bfloat16"]
    options = parser.parse_args(argv)
    assert (options.input, options.output, options.segments) == (["a/b", "c", "d"], "/x", ["e", "f"])
    assert (options.batch_size, options.segment_seconds, options.plan) == (8, 2.0, True)
    assert (options.precision, options.overwrite, options.id_pattern) == ("bfloat16", False, None)
    assert options.max_reject_fraction == 0.05 and options.columns == ""


def test_commands_that_embed_have_the_options_of_the_model():
    parser = argparse.ArgumentParser()
    add_asset_options(parser)
    assert {action.dest for action in parser._actions} == {"help", "weights", "assets_dir", "pca_params"}

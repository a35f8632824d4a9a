from typing import get_args

from pipeline.cli.options import make_parser
from transforms.audio.paddings import REPEAT, ZEROS, Padding


def test_names_are_those_of_the_type_and_of_the_option():
    (option,) = (action for action in make_parser()._actions if action.dest == "pad_short")
    assert {ZEROS, REPEAT} == set(get_args(Padding)) == set(option.choices)

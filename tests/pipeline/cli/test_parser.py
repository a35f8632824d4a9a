import pytest

from pipeline.cli.parser import OneLineParser
from transforms.errors import SettingError


def test_a_mistake_is_an_error_of_the_project_and_not_the_end_of_the_process(capsys):
    parser = OneLineParser()
    parser.add_argument("--number", type=int)
    with pytest.raises(SettingError, match=r"argument --number: invalid int value: 'x'; see --help"):
        parser.parse_args(["--number=x"])
    assert capsys.readouterr() == ("", "")

from pipeline.cli.beam_options import BEAM_OPTIONS, beam_options
from pipeline.cli.beam_values import beam_options_json


def test_the_list_is_that_of_the_installed_version_of_beam():
    assert BEAM_OPTIONS.read_text() == beam_options_json(), "run docs/generate.py"


def test_options_have_their_names_and_forms():
    options = {name: option for option in beam_options() for name in option.names}
    assert not options["--runner"].is_checked and options["--runner"].nargs is None
    assert options["--streaming"].nargs == 0
    assert options["--direct_num_workers"].is_checked  # an integer
    assert options["--direct_running_mode"].is_checked  # one of three words
    assert options["--experiment"] is options["--experiments"]
    assert options["--no_use_public_ips"].destination == "use_public_ips"

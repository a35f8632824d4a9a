import pytest

from pipeline.cli.beam_values import parse_beam_flags
from pipeline.cli.option_groups import add_run_options
from transforms.errors import SettingError


def test_values_have_the_types_of_beam():
    values = parse_beam_flags(["--direct_num_workers=3", "--experiments=a", "--streaming"])
    assert (values.direct_num_workers, values.experiments, values.streaming) == (3, ["a"], True)
    assert parse_beam_flags(["--batch_size=4", "--input", "x"], add_run_options).batch_size == 4


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--direct_num_workers=two", "argument --direct_num_workers: invalid int value: 'two'; see --help"),
        ("--direct_running_mode=fast", "invalid choice: 'fast'"),
        ("--gcs_custom_audit_entries={x", "is not valid JSON"),
    ],
)
def test_a_value_that_beam_refuses_is_one_line(flag, message):
    with pytest.raises(SettingError) as caught:
        parse_beam_flags([flag])
    assert message in str(caught.value) and "\n" not in str(caught.value)

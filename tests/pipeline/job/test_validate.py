"""Mistakes that the options alone show."""

import importlib.util
import re

import pytest

from pipeline.cli.options import parse_options
from pipeline.job.validate import validate
from transforms.errors import SettingError


@pytest.mark.parametrize("hint", ["min_ram", "min_ram=much", "cards=1"])
def test_a_hint_that_beam_does_not_know_is_named(hint):
    with pytest.raises(SettingError, match=f"--inference_hint={hint}: .*min_ram=16GB"):
        validate(parse_options(["--input=a", "--output=b", f"--inference_hint={hint}"]))


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--batch_size=0", "give 1 to 4096 examples"),
        ("--batch_size=4097", "give 1 to 4096 examples"),
        ("--max_reject_fraction=1.1", "give 0 to 1"),
        ("--max_reject_fraction=-0.1", "give 0 to 1"),
        ("--max_reject_fraction=nan", "give 0 to 1"),
        ("--example_hop_seconds=0", "--example_hop_seconds: hop_s is 0.0; give 0.01 to 3600.0 s"),
        ("--segment_seconds=0.97", "give at least 0.975 s, the length of one frame"),
        ("--segment_seconds=inf", "give at least 0.975 s"),
        ("--split=../up", "a split names a folder"),
        ("--id_pattern=(", "not a valid regular expression"),
        ("--sharding=hash:0", "--sharding=hash:0"),
        ("--columns=colour=x", "colour"),
        ("--segments=other.csv", "--segments=other.csv: no such file"),
    ],
)
def test_a_mistake_in_one_option_names_it(flag, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        validate(parse_options(["--input=a", "--output=b", flag]))


def test_values_are_parsed():
    flags = ["--batch_size=4096", "--max_reject_fraction=1", "--segment_seconds=0.975", "--sharding=hash:3"]
    flags += ["--segments=eval=x.csv", "--columns=audio=sound", r"--id_pattern=(?P<id>\w+)"]
    valid = validate(parse_options(["--input=a", "--output=b", "--example_hop_seconds=0.48", *flags]))
    assert (valid.framing.hop_s, valid.sharding.num_shards) == (0.48, 3)
    assert valid.segment_files == (("eval", "x.csv"),) and valid.columns["audio"] == "sound"
    assert valid.id_pattern.match("abc")["id"] == "abc" and valid.given.batch_size == 4096


def test_options_that_do_not_go_together_are_refused(monkeypatch):
    with pytest.raises(SettingError, match="read only quantized frames; leave out --postprocess=raw"):
        validate(parse_options(["--input=a", "--output=b", "--output_schema=youtube8m", "--postprocess=raw"]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match="soxr is not installed"):
        validate(parse_options(["--input=a", "--output=b", "--resampler=soxr"]))

"""Runners that give wrong results are refused in every spelling that Beam takes."""

import re

import pytest
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.runners.runner import _RUNNER_MAP
from hypothesis import given
from hypothesis import strategies as st

from examples import own_pipeline
from pipeline.cli.commands import ANALYZE, FIT_PCA, MAKE_SHARDS
from pipeline.cli.options import parse_options
from pipeline.cli.runner_names import BEAM_RUNNERS, REFUSED, check_runner
from transforms.errors import SettingError

DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"
REQUIRED = ["--input=clips/*", "--output=out"]


def any_case(name: str) -> st.SearchStrategy[str]:
    """Draws the name in upper and lower case, with or without its last word."""
    shorter = st.sampled_from([name, name.removesuffix("Runner")])
    return shorter.flatmap(
        lambda text: st.tuples(*(st.sampled_from([c.lower(), c.upper()]) for c in text))
    ).map("".join)


def test_the_names_are_those_of_beam():
    assert list(BEAM_RUNNERS) == StandardOptions.KNOWN_RUNNER_NAMES


@given(
    st.sampled_from(sorted(REFUSED)).flatmap(any_case), st.sampled_from(["", "a.b.", "apache_beam.runners."])
)
def test_a_refused_runner_is_refused_in_every_spelling(name, package):
    with pytest.raises(SettingError, match=re.escape(f"--runner={package}{name}: ")) as caught:
        check_runner(f"{package}{name}")
    assert "is refused" in str(caught.value) and "use --runner=FnApiRunner" in str(caught.value)


@given(st.sampled_from([name for name in BEAM_RUNNERS if name not in REFUSED]).flatmap(any_case))
def test_other_names_are_accepted_in_every_spelling_of_beam(name):
    check_runner(name)
    assert {name.lower(), f"{name}runner".lower()} & _RUNNER_MAP.keys()


@given(st.text(st.characters(codec="utf-8"), max_size=12).filter(lambda name: "." not in name))
def test_a_name_without_a_dot_is_accepted_only_if_beam_knows_it(name):
    is_known = {name.lower(), f"{name.lower()}runner"} & _RUNNER_MAP.keys()
    try:
        check_runner(name)
    except SettingError:
        assert not is_known or "BundleBasedDirectRunner" in _RUNNER_MAP[is_known.pop()]
    else:
        assert is_known


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(SettingError) as caught:
        check_runner("FlinkRuner")
    assert str(caught.value).startswith(
        "--runner=FlinkRuner: Beam has no runner of this name (did you mean FlinkRunner?); use "
    )


def test_the_path_of_another_class_is_accepted():
    check_runner("my_package.MyRunner")


@pytest.mark.parametrize(
    "parse, argv",
    [
        (parse_options, REQUIRED),
        (ANALYZE.parse, ["features"]),
        (FIT_PCA.parse, ["features", "--output=pca.npz"]),
        (MAKE_SHARDS.parse, [*REQUIRED, "--format=tar"]),
        (own_pipeline.main, REQUIRED),
    ],
)
def test_every_command_with_a_pipeline_refuses_it(parse, argv):
    for option in ([f"--runner={DASK}"], ["--runner", "dask"]):
        with pytest.raises(SettingError, match="DaskRunner is refused"):
            parse([*argv, *option])


def test_a_config_file_is_checked_and_the_last_option_counts(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"runner: {DASK}\n")
    with pytest.raises(SettingError, match="DaskRunner is refused"):
        parse_options([f"--config={config}", *REQUIRED])
    options = parse_options([f"--config={config}", *REQUIRED, "--runner=FnApiRunner"])
    assert options.beam_flags == ("--runner=FnApiRunner",)
    assert (
        parse_options([*REQUIRED, "--runner=dask", "--runner=FnApiRunner"]).beam_flags[-1]
        == "--runner=FnApiRunner"
    )

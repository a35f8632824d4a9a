import contextlib
import io
import os
import re

import pytest

from pipeline.cli.options import parse_options
from pipeline.job import runner
from pipeline.job.runner import make_pipeline
from transforms.beam_internals import has_google_credentials
from transforms.errors import SettingError
from transforms.prefetch import num_cores

REQUIRED = ["--input=a.wav", "--output=out"]
# Any program: these tests need no Java.
LAUNCHER = "--job_server_java_launcher=sh"


def test_defaults_are_those_of_the_release():
    options = parse_options(REQUIRED)
    assert options.input == ("a.wav",)
    assert (options.split, options.postprocess, options.example_hop_seconds) == ("train", "quantized", 0.96)
    assert options.weights is None and options.pca_params is None and options.segments == ()


def test_inputs_repeat_and_take_what_a_shell_expands():
    options = parse_options(["--input", "a", "b", "--output=out", "--input=c"])
    assert options.input == ("a", "b", "c")


def test_beams_options_are_passed_on():
    flags = ("--runner=FnApiRunner", "--direct_num_workers=2")
    assert parse_options([*REQUIRED, *flags]).beam_flags == flags


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--ouput=x"], "unknown option --ouput (did you mean --output?)"),
        (["--direct_num_worker=2"], "(did you mean --direct_num_workers?)"),
        (["stray"], "unknown option stray"),
        (["--batch_size=many"], "--batch_size: invalid int value: 'many'"),
        (["--postprocess=pca"], "invalid choice: 'pca'"),
        (["--precision=int8"], "invalid choice: 'int8'"),
        (["--resampler=sinc"], "invalid choice: 'sinc'"),
        (["--direct_num_workers=two"], "--direct_num_workers: invalid int value"),
    ],
)
def test_a_mistyped_option_is_an_error_that_names_it(flags, message):
    with pytest.raises(SettingError) as caught:
        parse_options([*REQUIRED, *flags])
    assert message in str(caught.value)


@pytest.fixture
def no_threads_set(monkeypatch):
    """The variable that says how many threads a process may have is left as it was."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")  # so that what the test sets is undone
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")


MULTI_PROCESSING = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing"]


@pytest.mark.parametrize("workers, threads", [(2, "4"), (3, "2"), (0, "1"), (100, "1")])
def test_worker_processes_share_the_cores(no_threads_set, monkeypatch, workers, threads):
    monkeypatch.setattr(runner, "num_cores", lambda: 8)
    make_pipeline([*MULTI_PROCESSING, f"--direct_num_workers={workers}"])
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == threads


def test_one_process_has_all_cores_and_the_environment_wins(no_threads_set, monkeypatch):
    make_pipeline(["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"])
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    make_pipeline([*MULTI_PROCESSING, "--direct_num_workers=2"])
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "5"


def test_a_process_has_the_threads_that_it_was_given(no_threads_set, monkeypatch):
    assert num_cores() == len(os.sched_getaffinity(0))
    for given, cores in (("1", 1), ("0", num_cores()), ("", num_cores()), ("many", num_cores())):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given)
        assert num_cores() == cores


def test_dataflow_without_credentials_is_an_error_before_anything_else(monkeypatch, tmp_path):
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    has_google_credentials.cache_clear()
    with pytest.raises(SettingError, match="--runner=DataflowRunner: there are no Google credentials"):
        make_pipeline(["--runner=DataflowRunner"])
    has_google_credentials.cache_clear()


def test_input_and_output_are_required():
    with pytest.raises(SettingError, match="--output is required"):
        parse_options(["--input=a.wav"])
    for inputs in ([], ["--input=a.wav", "--input_rejects=b.jsonl"]):
        with pytest.raises(SettingError, match="give either --input or --input_rejects"):
            parse_options([*inputs, "--output=out"])


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ["--runner=FlinkRunner", "--job_server_java_launcher=no-java"],
            "the program 'no-java' was not found",
        ),
        (
            ["--runner=SparkRunner", "--job_server_java_launcher=no-java"],
            "the program 'no-java' was not found",
        ),
        (
            ["--runner=FlinkRunner", "--flink_job_server_jar=no.jar", LAUNCHER],
            "--flink_job_server_jar=no.jar: no such file",
        ),
        (
            ["--runner=FlinkRunner", "--flink_master=127.0.0.1:9", LAUNCHER],
            "127.0.0.1:9: the cluster does not",
        ),
        (["--runner=PrismRunner", "--prism_location=no-prism"], "--prism_location=no-prism: no such file"),
    ],
)
def test_an_engine_that_cannot_be_had_is_an_error_before_any_work(flags, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        make_pipeline(flags)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "config.yaml").write_text(text)
        return f"--config={tmp_path / 'config.yaml'}"

    return write


def test_a_config_gives_any_option_beams_too_and_flags_win(config):
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


def test_a_config_that_is_not_there_is_an_error():
    with pytest.raises(SettingError, match=r"no_such\.yaml"):
        parse_options(["--config=no_such.yaml"])


def test_help_names_every_own_option():
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.raises(SystemExit) as caught:
        parse_options(["--help"])
    assert caught.value.code == 0
    for name in vars(parse_options(REQUIRED)):
        assert name == "beam_flags" or f"--{name}" in output.getvalue()
    assert "examples:" in output.getvalue() and len(output.getvalue().splitlines()) <= 120

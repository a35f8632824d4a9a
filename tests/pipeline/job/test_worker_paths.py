from dataclasses import replace

import pytest

from pipeline.cli.options import parse_options
from pipeline.job.config import prepare_offline
from pipeline.job.validate import validate
from transforms.errors import SettingError

SEEN = {
    "input": "--input=gs://b/audio/**",
    "output": "--output=gs://b/out",
    "weights": "--weights=gs://b/vggish.ckpt",
    "segments": "--segments=eval=gs://b/eval.csv",
    "class_labels": "--class_labels=https://b/labels.csv",
}
ELSEWHERE = {
    "Dataflow's workers": ["--runner=DataflowRunner"],
    "workers in containers": ["--runner=PortableRunner", "--environment_type=DOCKER"],
}
MAY_SEE = {
    "in this process": [],
    "here": ["--runner=PortableRunner", "--environment_type=LOOPBACK"],
    "a cluster, perhaps with a shared disk": ["--runner=FlinkRunner", "--environment_type=EXTERNAL"],
    "an engine that the runner starts": ["--runner=FlinkRunner", "--flink_master=[local]"],
}


@pytest.mark.parametrize("workers", ELSEWHERE)
@pytest.mark.parametrize("name", SEEN)
def test_a_local_path_that_workers_cannot_access_is_refused(name, workers, tmp_path):
    path = f"eval={tmp_path}/x" if name == "segments" else f"{tmp_path}/x"
    flags = {**SEEN, name: f"--{name}={path}"}
    with pytest.raises(SettingError) as caught:
        validate(parse_options([*flags.values(), *ELSEWHERE[workers]]))
    message = str(caught.value)
    assert message.startswith(f"--{name}={tmp_path}/x: {workers}") and "copy them to gs://" in message


@pytest.mark.parametrize("workers", ELSEWHERE)
def test_paths_that_workers_can_access_are_accepted(workers):
    validate(parse_options([*SEEN.values(), *ELSEWHERE[workers]]))
    without = [flag for name, flag in SEEN.items() if name in ("input", "output")]
    offline = prepare_offline(validate(parse_options([*without, *ELSEWHERE[workers]])))
    assert offline.assets.weights.path.startswith("https://")


@pytest.mark.parametrize("workers", MAY_SEE)
def test_local_paths_are_accepted_if_workers_may_share_the_disk(workers, tmp_path):
    options = parse_options([f"--input={tmp_path}/*", f"--output={tmp_path}", *MAY_SEE[workers]])
    assert validate(options).given is options
    options = replace(options, beam_flags=(*options.beam_flags, "--environment_type=DOCKER"))
    with pytest.raises(SettingError, match="workers in containers"):
        validate(options)


@pytest.mark.parametrize("master, is_seen", [("local[2]", True), ("spark://host:7077", False)])
def test_the_workers_of_spark_are_here_if_the_runner_starts_it(tmp_path, master, is_seen):
    flags = ["--runner=SparkRunner", f"--spark_master_url={master}"]
    options = parse_options([f"--input={tmp_path}/*", f"--output={tmp_path}", *flags])
    if is_seen:
        validate(options)
        return
    with pytest.raises(SettingError, match="workers in containers"):
        validate(options)

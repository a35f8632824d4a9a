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
def test_a_path_of_this_machine_is_refused_where_workers_cannot_see_it(name, workers, tmp_path):
    path = f"eval={tmp_path}/x" if name == "segments" else f"{tmp_path}/x"
    flags = {**SEEN, name: f"--{name}={path}"}
    with pytest.raises(SettingError) as caught:
        validate(parse_options([*flags.values(), *ELSEWHERE[workers]]))
    message = str(caught.value)
    assert message.startswith(f"--{name}={tmp_path}/x: {workers}") and "copy them to gs://" in message


@pytest.mark.parametrize("workers", ELSEWHERE)
def test_what_workers_can_see_is_not_refused(workers):
    validate(parse_options([*SEEN.values(), *ELSEWHERE[workers]]))
    without = [flag for name, flag in SEEN.items() if name in ("input", "output")]
    offline = prepare_offline(validate(parse_options([*without, *ELSEWHERE[workers]])))
    assert offline.assets.weights.path.startswith("https://")


@pytest.mark.parametrize("workers", MAY_SEE)
def test_workers_that_may_share_a_disk_find_out_themselves(workers, tmp_path):
    validate(parse_options([f"--input={tmp_path}/*", f"--output={tmp_path}", *MAY_SEE[workers]]))

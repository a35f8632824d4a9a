import re
import shutil
import socket
import sys
from pathlib import Path

import apache_beam as beam
import psutil
import pytest
from apache_beam.coders import BytesCoder
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.job_server import SubprocessJobServer
from apache_beam.transforms import core, environments, userstate
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.typehints import decorators

from pipeline.process.start import BEAM_VERSION
from transforms import beam_internals

ROOT = Path(__file__).resolve().parents[1]


def test_the_required_version_of_beam_is_the_one_that_was_checked():
    major, minor = BEAM_VERSION.split(".")
    required = f">={BEAM_VERSION},<{major}.{int(minor) + 1}"
    assert f"apache-beam[aws,gcp,hadoop]{required}" in (ROOT / "pyproject.toml").read_text()
    assert f"for Beam {BEAM_VERSION}" in beam_internals.__doc__


def test_private_parts_of_beam_are_used_in_this_module_alone():
    """Names that begin with an underscore, and names of internal packages."""
    importing = set()
    for path in [*(ROOT / "transforms").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        text = path.read_text()
        if path.name != "beam_internals.py":
            assert not re.findall(r"\b(?:filesystem|reader|uploader|beam|auth)\._\w+", text), path
        for module, names in re.findall(r"from apache_beam(\S*) import (\([^)]*\)|.*)", text):
            if "internal" in module or re.search(r"\b_\w+", names):
                importing.add(str(path.relative_to(ROOT)))
    named = re.findall(r"`(pipeline/(?:cli|job)/\w+\.py)`", beam_internals.__doc__)
    assert importing == {"transforms/beam_internals.py", *named}


def test_cached_options_are_those_of_their_pipeline():
    beam_internals.cache_construction()
    first, second = (PipelineOptions([f"--temp_location=/{number}"]) for number in range(2))
    view = first.view_as(GoogleCloudOptions)
    assert first.view_as(GoogleCloudOptions) is view is view.view_as(GoogleCloudOptions)
    assert second.view_as(GoogleCloudOptions).temp_location == "/1"
    view.temp_location = "/2"
    assert first.get_all_options()["temp_location"] == first.view_as(GoogleCloudOptions).temp_location == "/2"
    assert second.view_as(GoogleCloudOptions).temp_location == "/1"
    # Objects that are gone leave their ids to others.
    for number in range(100):
        options = PipelineOptions([f"--temp_location=/{number}"])
        assert options.view_as(GoogleCloudOptions).temp_location == f"/{number}"


def test_cached_inspections_are_those_of_their_function():
    class Stateless(beam.DoFn):
        def process(self, element, first=1): ...

    state = beam.DoFn.StateParam(ReadModifyWriteStateSpec("state", BytesCoder()))

    class Stateful(beam.DoFn):
        def process(self, element, state=state): ...

    beam_internals.cache_construction()
    for _ in range(2):
        assert core.get_function_arguments(Stateless(), "process") == (["element", "first"], [1])
        assert core.get_function_arguments(Stateful(), "process")[0] == ["element", "state"]
        assert not userstate.is_stateful_dofn(Stateless()) and userstate.is_stateful_dofn(Stateful())
        # A method of a class and of its object are the same function with other arguments.
        assert list(decorators.get_signature(Stateless.process).parameters) == ["self", "element", "first"]
        assert list(decorators.get_signature(Stateless().process).parameters) == ["element", "first"]
        for default in (1, 2):
            function = lambda element, number=default: number  # noqa: E731
            assert core.get_function_args_defaults(function)[1] == [default]


def test_changed_worker_commands(monkeypatch):
    made = environments.SubprocessSDKEnvironment.from_command_string
    monkeypatch.setattr(environments.SubprocessSDKEnvironment, "from_command_string", made)
    beam_internals.change_worker_command(lambda command: f"exec {command}")
    environment = environments.SubprocessSDKEnvironment.from_command_string(command_string="python -m x")
    assert environment.command_string == made("exec python -m x").command_string


def test_the_client_of_s3_has_the_options_of_its_filesystem():
    flags = ["--s3_endpoint_url=http://localhost:9", "--s3_access_key_id=k", "--s3_secret_access_key=s"]
    filesystem = S3FileSystem(PipelineOptions([*flags, "--s3_region_name=eu-west-1"]))
    meta = beam_internals.s3_client(filesystem).meta
    assert (meta.endpoint_url, meta.region_name) == ("http://localhost:9", "eu-west-1")


class JobServer(SubprocessJobServer):
    """Beam's own job server, in another process."""

    def subprocess_cmd_and_endpoint(self):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        module = "apache_beam.runners.portability.local_job_service_main"
        return [sys.executable, "-m", module, f"--port={port}"], f"localhost:{port}"


@pytest.mark.integration  # it starts a server
def test_a_job_server_stops_after_its_folder_was_deleted(monkeypatch):
    monkeypatch.setattr(SubprocessJobServer, "stop", SubprocessJobServer.stop)
    beam_internals.stop_job_servers.__wrapped__()
    others, server = set(psutil.Process().children()), JobServer()
    server.start()
    (process,) = set(psutil.Process().children()) - others
    shutil.rmtree(server._local_temp_root)
    server.stop()
    process.wait(10)
    server.stop()  # the second time it does nothing

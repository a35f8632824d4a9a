import re
from pathlib import Path

from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import environments

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

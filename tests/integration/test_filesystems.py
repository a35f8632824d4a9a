"""Inputs and outputs on s3://, gs:// and hdfs://, with servers on this machine."""

import json
import time
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from commands import run_command, run_python
from servers import Server, gcs, hdfs, s3
from sounds import write_noise
from test_main_job import TRIAL, run_pipeline

from pipeline.make_shards import run as make_shards
from transforms.storage.files import delete_files, match_files, new_file, write_atomic
from transforms.storage.globs import escape
from transforms.storage.listing import list_files

pytestmark = [pytest.mark.integration, pytest.mark.servers]

FILES = {"a0": "wav", "b1": "flac", "c2": "ogg", "d3": "mp3", "e4": "aiff"}
DEEPER = {"j9": "wav"}
IN_SHARDS = {"tar": {"f5": "wav", "g6": "ogg"}, "parquet": {"h7": "flac", "i8": "mp3"}}
UNMATCHED = "e4"
SPEECH = "/m/09x0r"
# Flags and variables of servers that do not run.
NOBODY: dict[str, tuple[list[str], dict[str, str]]] = {
    "s3": (["--s3_endpoint_url=http://127.0.0.1:9", "--s3_access_key_id=a", "--s3_secret_access_key=b"], {}),
    "gs": ([], {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9", "NO_GCE_CHECK": "true"}),
    "hdfs": (["--hdfs_host=127.0.0.1", "--hdfs_port=9", "--hdfs_user=test"], {}),
}
# S3 and Beam divide an upload into parts of 5 MiB.
MORE_THAN_A_PART = (5 << 20) + 1
# The files of a run that do not depend on the filesystem of its inputs and outputs.
LISTS = ("_run/rejected-00000-of-00001.jsonl", "_run/unmatched-00000-of-00001.jsonl", "_run/shards.jsonl")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Creates audio files (one is bad, one has no segment), a tar shard, a Parquet shard, and CSVs."""
    folder = tmp_path_factory.mktemp("corpus")
    _write_clips(folder / "audio", FILES)
    _write_clips(folder / "audio" / "deep" / "er", DEEPER)
    (folder / "audio" / "bad.wav").write_text("no audio\n" * 100)
    ids = [*FILES, *DEEPER, "bad"]
    for kind, clips in IN_SHARDS.items():
        unpacked = tmp_path_factory.mktemp(kind)
        _write_clips(unpacked, clips)
        flags = [f"--input={unpacked}/*", f"--output={folder}/{kind}", f"--format={kind}"]
        assert make_shards([*flags, "--runner=FnApiRunner"]) == 0
        ids += clips
    rows = [f'{video_id}, 0.000, 1.000, "{SPEECH}"\n' for video_id in ids if video_id != UNMATCHED]
    (folder / "eval_segments.csv").write_text("".join(rows))
    (folder / "labels.csv").write_text(f'index,mid,display_name\n0,{SPEECH},"Speech"\n')
    return folder


def _write_clips(folder: Path, clips: dict[str, str]) -> None:
    for video_id, suffix in clips.items():
        seed = int(video_id[1])
        write_noise(folder / f"{video_id}.{suffix}", 1.0 + 0.3 * seed, 44_100, seed)


def _inputs(root: str | Path) -> list[str]:
    return [
        f"--input={root}/audio/**",
        f"--input={root}/tar/*.tar",
        f"--input={root}/parquet/*.parquet",
        f"--segments={root}/eval_segments.csv",
        f"--class_labels={root}/labels.csv",
        *TRIAL,
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _same(found: dict[str, bytes], root: str, expected: dict[str, bytes], expected_root: str) -> None:
    """Asserts that two runs wrote the same shards, lists and accounts, except for the paths of inputs."""
    assert found.keys() == expected.keys()
    assert not {name for name in found if name.endswith(".tfrecord") and found[name] != expected[name]}
    for name in LISTS:
        assert found[name].decode().replace(root, expected_root) == expected[name].decode()
    account, expected_account = (
        json.loads(files["_run/manifest.json"])["account"] for files in (found, expected)
    )
    assert account == expected_account


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory) -> dict[str, bytes]:
    """Returns the files that a run on local files writes."""
    output = tmp_path_factory.mktemp("local") / "out"
    result = run_pipeline(*_inputs(corpus), f"--output={output}")
    assert result.returncode == 0, result.stderr
    assert "clips expected 10 = written 9 + rejected 1" in result.stdout
    return _files(output)


@pytest.fixture(scope="module", params=[s3, gcs, hdfs], ids=["s3", "gs", "hdfs"])
def server(request, corpus, tmp_path_factory):
    with request.param.serve(tmp_path_factory.mktemp("server")) as server:
        for name, data in _files(corpus).items():
            server.put(name, data)
        yield server


def test_inputs_are_read(server: Server, corpus, expected, tmp_path):
    result = run_pipeline(
        *_inputs(server.root), f"--output={tmp_path}/out", *server.flags, **server.environment
    )
    assert result.returncode == 0, result.stderr
    _same(_files(tmp_path / "out"), server.root, expected, str(corpus))


def test_features_are_written(server: Server, corpus, expected):
    result = run_pipeline(
        *_inputs(corpus), f"--output={server.root}/out", *server.flags, **server.environment
    )
    assert result.returncode == 0, result.stderr
    _same(server.get("out"), str(corpus), expected, str(corpus))


def test_features_are_verified(server: Server, expected):
    for name, data in expected.items():
        server.put(f"features/{name}", data)
        if name.endswith(".tfrecord"):
            server.put(f"cut/{name}", data[:-7])
    for folder, status, said in (("features", 0, "is good"), ("cut", 1, "ends in the record")):
        arguments = [f"{server.root}/{folder}", "--strict", *server.flags]
        result = run_command("-m", "pipeline.verify", *arguments, **server.environment)
        assert result.returncode == status and said in result.stdout, result.stdout + result.stderr


@pytest.fixture
def reachable(server: Server, monkeypatch):
    """Configures Beam's filesystems in this process for the server."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    FileSystems.set_options(PipelineOptions(list(server.flags)))
    yield
    FileSystems.set_options(PipelineOptions([]))


def test_a_file_is_whole_or_not_there(server: Server, reachable):
    """A file of any size, also empty, replaces an older one; it does not appear if its writer fails."""
    for size in (0, 3, MORE_THAN_A_PART, 0):
        write_atomic(f"{server.root}/files/a", bytes(size))
        assert server.get("files") == {"a": bytes(size)}
    for size in (0, MORE_THAN_A_PART):
        with pytest.raises(ZeroDivisionError), new_file(f"{server.root}/broken/b") as file:
            file.write(bytes(size))
            raise ZeroDivisionError
        assert server.get("broken") == {}


def test_globs_are_those_of_a_disk(server: Server, reachable, tmp_path):
    for name in ("a.wav", "b/c.wav", "b/d/e.wav", "b/.x.wav", ".git/f.wav", "[g]/h[i].wav", "what?.wav"):
        write_atomic(f"{tmp_path}/listed/{name}", b"12345")
        write_atomic(f"{server.root}/listed/{name}", b"12345")
    patterns = ("**", "*", "**/*.wav", "b/**", "b/*/*.wav", ".git/*", "**/.*", "a.wav", "[[]g]/*", "none/*")
    for pattern in (*patterns, "[g]/h[i].wav", "what?.wav", "b", "b/"):
        here, there = (list_files(f"{root}/listed/{pattern}") for root in (tmp_path, server.root))
        moved = [(path.replace(server.root, str(tmp_path)), size) for path, size in there.files]
        assert sorted(moved) == sorted(here.files), pattern
        assert there.hidden == here.hidden and there.faults == [], pattern
    folder = escape(f"{server.root}/listed/[g]")
    assert match_files(f"{folder}/*") == [f"{server.root}/listed/[g]/h[i].wav"]
    delete_files(match_files(f"{folder}/*"))
    assert match_files(f"{folder}/*") == [] and "b/c.wav" in server.get("listed")


def test_what_is_not_there_is_one_line_and_exit_2(server: Server, tmp_path):
    output, audio = f"--output={tmp_path}/out", f"--input={server.root}/audio/*.wav"
    labels = f"--class_labels={server.root}/labels.csv"
    wrong = [
        [output, f"--input={server.nowhere}/*.wav"],
        [output, audio, labels, f"--segments=eval={server.nowhere}/eval_segments.csv"],
    ]
    if not server.root.startswith("hdfs:"):  # HDFS creates the folder
        wrong.append([audio, f"--output={server.nowhere}"])
    for flags in wrong:
        _is_one_line(server.nowhere, *flags, *server.flags, **server.environment)


def test_without_credentials_gs_says_so_and_soon(tmp_path):
    flags, environment = NOBODY["gs"]
    started = time.monotonic()
    arguments = ["--runner=DirectRunner", "--input=gs://corpus/*", f"--output={tmp_path}/out", *flags, *TRIAL]
    result = run_python("-m", "pipeline.run", *arguments, **environment)
    took_s, started = time.monotonic() - started, time.monotonic()
    assert "there are no Google credentials" in result.stderr
    run_python("-c", "import pipeline.run")
    assert took_s < 10 + 2 * (time.monotonic() - started)  # it lists the bucket for up to ten seconds


@pytest.mark.parametrize("scheme", NOBODY)
def test_a_server_that_does_not_answer_is_one_line_and_exit_2(scheme, tmp_path):
    flags, environment = NOBODY[scheme]
    pattern = f"{scheme}://corpus/audio/*.wav"
    _is_one_line(pattern, f"--input={pattern}", f"--output={tmp_path}/out", *flags, **environment)


def _is_one_line(cause: str, *flags: str, **environment: str) -> None:
    result = run_pipeline(*flags, *TRIAL, **environment)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1 and cause in result.stderr, result.stderr

"""Files that only one of several programs can create, on servers of s3://, gs:// and hdfs://."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from commands import ROOT
from servers import Server, gcs, hdfs, s3

pytestmark = [pytest.mark.integration, pytest.mark.servers]

_SCRIPT = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from pipeline.output.lock import lock_folder
from transforms.storage import exclusive
from transforms.errors import SettingError
FileSystems.set_options(PipelineOptions(json.loads(sys.argv[2])))
path = sys.argv[1] + "/exclusive/lock"
assert exclusive.read(path) is None
first = exclusive.create(path, b"1")
assert first and exclusive.read(path) == first, first
assert exclusive.create(path, b"other") is None
second = exclusive.replace(path, b"2", first)
assert second and exclusive.read(path) == second
assert exclusive.replace(path, b"3", first) is None
exclusive.remove(path, first)
assert exclusive.read(path) == second
exclusive.remove(path, second)
assert exclusive.read(path) is None and exclusive.replace(path, b"3", second) is None
with ThreadPoolExecutor(8) as pool:
    made = list(pool.map(lambda n: exclusive.create(path, b"%d" % n), range(8)))
won = [version for version in made if version]
assert (len(won) == 1 or not exclusive.is_atomic(path)) and exclusive.read(path) in won, won
with lock_folder(sys.argv[1] + "/locked"):
    try:
        with lock_folder(sys.argv[1] + "/locked"):
            raise AssertionError("two have it")
    except SettingError as error:
        assert "another run is using this folder" in str(error)
assert exclusive.read(sys.argv[1] + "/locked/_run/lock.json") is None
print("done")
"""


@pytest.mark.parametrize("serve", [s3.serve, gcs.serve, hdfs.serve], ids=["s3", "gs", "hdfs"])
def test_a_file_is_made_once_and_replaced_as_it_was(serve, tmp_path):
    with serve(tmp_path) as server:
        result = _run(server, _SCRIPT)
        assert result.returncode == 0 and result.stdout == "done\n", result.stderr


_CONTEND = """
import json, sys, time
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from pipeline.output.lock import lock_folder
from transforms.errors import SettingError
FileSystems.set_options(PipelineOptions(json.loads(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
try:
    with lock_folder(sys.argv[1] + "/raced"):
        print("held", flush=True)
        sys.stdin.readline()
except SettingError as error:
    print("refused", error, flush=True)
"""


@pytest.mark.parametrize("serve", [s3.serve, gcs.serve, hdfs.serve], ids=["s3", "gs", "hdfs"])
def test_one_of_several_processes_that_start_together_gets_the_lock(serve, tmp_path):
    with serve(tmp_path) as server, ThreadPoolExecutor(3) as pool:
        processes = [_start(server, _CONTEND) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = sorted(line.split()[0] for line in pool.map(lambda p: p.stdout.readline(), processes))
        for process in processes:
            process.communicate("end\n", timeout=60)
        assert said == ["held", "refused", "refused"]


def _start(server: Server, script: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", script, server.root, json.dumps(server.flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **server.environment},
    )


def _run(server: Server, script: str) -> subprocess.CompletedProcess:
    process = _start(server, script)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(script, process.returncode, out, err)

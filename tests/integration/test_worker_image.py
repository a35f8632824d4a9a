"""The parts of the workers' image that can run without an engine for containers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import install
import pytest
from commands import ROOT
from servers import HOST, free_ports, wait_until_ready
from test_main_job import TRIAL, run_pipeline, shards, write_corpus

pytestmark = [pytest.mark.integration, pytest.mark.prism]


def test_workers_of_the_images_boot_program_write_the_same_bytes(tmp_path):
    assert f"go install {install._BOOT}\n" in (ROOT / "docker" / "Dockerfile").read_text()
    write_corpus(tmp_path / "audio")
    flags = [f"--input={tmp_path}/audio/*", *TRIAL]
    assert run_pipeline(*flags, f"--output={tmp_path}/expected").returncode == 0

    (port,) = free_ports(1)
    pool = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
    environment = {
        # The boot program starts the first `python` on the path, here without installing packages.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
    }
    log = tmp_path / "pool.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*pool, f"--container_executable={install.boot()}"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
    try:
        wait_until_ready(process, log, lambda: socket.create_connection((HOST, port), 1).close())
        external = ["--environment_type=EXTERNAL", f"--environment_config={HOST}:{port}"]
        portable = ["--runner=PortableRunner", "--job_endpoint=embed", *external]
        result = run_pipeline(*flags, *portable, f"--output={tmp_path}/out")
        assert result.returncode == 0, result.stderr
        assert "container" in log.read_text(), "the pool did not start the boot program"
    finally:
        process.terminate()
        process.wait(30)
    assert shards(tmp_path / "out") == shards(tmp_path / "expected")

"""Small files that unpack to much: memory stays within the bound of long recordings."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time

import numpy as np
import psutil
import pytest
import soundfile
from test_main_job import ROOT, TRIAL

pytestmark = pytest.mark.integration

MAX_GB = 1.5
HOURS = 1
SECOND = np.zeros((44_100, 2), np.int16)


def peak_gb(*flags: str) -> float:
    """Runs the pipeline; peak resident memory of its process and all that it starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.run", "--runner=FnApiRunner", *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    others = [0.0]

    def watch() -> None:
        while process.returncode is None:
            try:
                children = psutil.Process(process.pid).children(recursive=True)
                others.append(sum(child.memory_info().rss for child in children))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    assert process.returncode == 0
    return usage.ru_maxrss / 1e6 + max(others) / 1e9


def write_silence(path, seconds: int) -> None:
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
        for _ in range(seconds):
            file.write(SECOND)


def test_hours_of_silence_in_a_small_file(tmp_path):
    write_silence(tmp_path / "silence.flac", HOURS * 3600)
    assert (tmp_path / "silence.flac").stat().st_size < 1_000_000
    write_silence(tmp_path / "silence.wav", HOURS * 3600)
    size = (tmp_path / "silence.wav").stat().st_size
    assert size > 6e8
    with (
        gzip.open(tmp_path / "shard.tar.gz", "wb", 6) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for name, seconds in (("before", 2), ("bomb", None), ("after", 2)):
            if seconds is None:
                tar.add(tmp_path / "silence.wav", f"{name}.wav")
                continue
            data = io.BytesIO()
            soundfile.write(data, np.zeros(16_000 * seconds), 16_000, format="WAV")
            member = tarfile.TarInfo(f"{name}.wav")
            member.size = data.tell()
            data.seek(0)
            tar.addfile(member, data)
    (tmp_path / "silence.wav").unlink()
    assert (tmp_path / "shard.tar.gz").stat().st_size < 1_000_000
    inputs = [f"--input={tmp_path}/{name}" for name in ("silence.flac", "shard.tar.gz")]
    peak = peak_gb(*TRIAL, *inputs, f"--output={tmp_path}/out")
    print(f"peak {peak:.3f} GB")
    assert peak < MAX_GB
    account = json.loads((tmp_path / "out" / "_run" / "manifest.json").read_text())["account"]
    # The shard's clip before the bomb is there, and what follows is one rejection.
    assert account["written"] == {"train": 2} and account["closes"]
    assert account["rejected_by_reason"] == {"train": {"truncated_shard": 1}}

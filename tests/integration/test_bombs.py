"""Decompression bombs: memory stays within the limit of long recordings."""

import contextlib
import gzip
import io
import json
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

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
    """Runs the pipeline; returns the peak resident memory of its process and its descendants."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.run", "--runner=FnApiRunner", *flags],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    peaks_gb: dict[int, float] = {}
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            started = psutil.Process(process.pid).children(recursive=True)
            for pid in (process.pid, *(child.pid for child in started)):
                peaks_gb[pid] = max(peaks_gb.get(pid, 0.0), high_water_gb(pid))
        time.sleep(0.05)
    assert process.returncode == 0
    return sum(peaks_gb.values())


def high_water_gb(pid: int) -> float:
    """Returns the peak memory of a process; the value of rusage would include the parent's at the fork."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) / 1e6 if found else 0.0
    return 0.0


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
    # The shard's clip before the bomb is written, and the rest of the shard is one reject.
    assert account["written"] == {"train": 2} and account["balanced"]
    assert account["rejected_by_reason"] == {"train": {"truncated_shard": 1}}

"""The progress of a run, on a terminal and elsewhere."""

import fcntl
import io
import itertools
import os
import pty
import struct
import termios
import time

from pipeline.cli import progress_display
from pipeline.cli.progress_display import Progress, Status
from transforms.progress import (
    CLIPS,
    CLIPS_DONE,
    COUNTERS,
    FILES_READ,
    FRAMES,
    REJECTED,
    SHARDS,
    ProgressFolder,
)

NOTHING = dict.fromkeys(COUNTERS, 0)


def test_a_status_shows_done_and_expected_clips():
    counts = NOTHING | {FILES_READ: 40, CLIPS: 40, CLIPS_DONE: 30, REJECTED: 2, FRAMES: 300}
    status = Status.of(counts, 100, 0.96, 15.0)
    assert (status.clips_expected, status.is_estimate, status.left_s) == (100, False, 35.0)
    assert status.text() == (
        "30 of 100 clips, 35 s left, 2 rejected, 2.0 clips/s, 4.8 min of audio, 19x real time"
    )

    only_rejects = NOTHING | {FILES_READ: 2, CLIPS: 2, CLIPS_DONE: 2, REJECTED: 2}
    assert Status.of(only_rejects, 9, 0.96, 4.0).text() == "2 of 9 clips, 14 s left, 2 rejected, 0.5 clips/s"


def test_a_short_line_keeps_the_time_left():
    counts = NOTHING | {FILES_READ: 4_000_000, CLIPS: 4_000_000, CLIPS_DONE: 1_234_567, REJECTED: 12_345}
    status = Status.of(counts | {FRAMES: 12_345_670}, 10_000_000, 0.96, 1e5)
    for width in range(1, 120):
        text = status.text(width)
        assert status.text().startswith(text)
        if width >= 44:
            assert len(text) <= width and "1,234,567 of 10,000,000 clips, 197.2 h left" in text
    assert status.text(79 - len("embedding 12%: ")).endswith("12,345 rejected")


def test_clips_of_shards_are_an_estimate_until_all_are_read():
    some = NOTHING | {FILES_READ: 2, CLIPS: 30, CLIPS_DONE: 20}
    assert Status.of(some, 10, 0.96, 1.0).text().startswith("20 of about 150 clips")
    assert Status.of(NOTHING | {CLIPS: 5, CLIPS_DONE: 4}, 1, 0.96, 1.0).clips_expected is None
    last = Status.of(some | {FILES_READ: 10, CLIPS: 151}, 10, 0.96, 1.0)
    assert (last.clips_expected, last.is_estimate) == (151, False)


def test_no_more_clips_are_done_than_expected():
    counts = NOTHING | {FILES_READ: 2, CLIPS: 2, CLIPS_DONE: 5}
    status = Status.of(counts, 2, 0.96, 1.0)
    assert (status.clips_expected, status.left_s) == (5, 0.0) and status.text().startswith("5 of 5 clips")


def test_the_time_for_writing_shards_does_not_count_for_the_speed(tmp_path, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(progress_display.time, "monotonic", lambda: float(next(clock)))
    folder = ProgressFolder(str(tmp_path))
    shown = Progress(folder, 2, 0.96, None)
    for counter in (FILES_READ, CLIPS, CLIPS_DONE):
        folder.add(counter, 2)
    assert [shown.status().working_s for _ in range(3)] == [0.0, 1.0, 2.0]
    folder.add(SHARDS, 1)
    assert [shown.status().working_s for _ in range(3)] == [2.0] * 3
    assert "1.0 clips/s" in shown.status().text()


def test_the_stage_follows_from_the_counts():
    assert Status.of(NOTHING, 1, 0.96, 0).stage == "loading the model"
    assert Status.of(NOTHING | {CLIPS_DONE: 1}, 1, 0.96, 0).stage == "embedding"
    writing = Status.of(NOTHING | {CLIPS_DONE: 1, SHARDS: 3}, 1, 0.96, 1.0)
    assert writing.stage == "writing shards" and "3 shards" in writing.text() and writing.left_s is None


def show(tmp_path, stream, seconds: float) -> None:
    folder = ProgressFolder(str(tmp_path))
    shown = Progress(folder, 4, 0.96, stream)
    shown.start()
    for counter, number in ((FILES_READ, 2), (CLIPS, 2), (CLIPS_DONE, 2), (FRAMES, 20)):
        folder.add(counter, number)
    time.sleep(seconds)
    shown.stop()
    assert shown.samples[-1].clips_done == 2


def test_a_terminal_has_one_live_line(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_display, "_LIVE_S", 0.05)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 80, 0, 0))
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "w") as terminal:
        show(tmp_path, terminal, 0.3)
        screen = os.read(ours, 1 << 16).decode()
    os.close(ours)
    lines = [line.rstrip() for line in screen.split("\r")]
    shown = {line for line in lines if line.startswith("embedding 50%: 2 of 4 clips, ")}
    assert shown and all(" left, 0 rejected" in line for line in shown) and max(map(len, lines)) < 80
    assert "\n" not in screen.replace("\r\n", "")


def test_plain_lines_appear_at_intervals_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_display, "_LIVE_S", 0.02)
    monkeypatch.setattr(progress_display, "_PLAIN_S", 0.1)
    stream = io.StringIO()
    show(tmp_path, stream, 0.35)
    lines = stream.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert all(line.startswith("embedding: 2 of 4 clips") for line in lines)


def test_samples_of_a_long_run_are_few_and_evenly_spread(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_display, "_MAX_SAMPLES", 8)
    clock = itertools.count()
    monkeypatch.setattr(progress_display.time, "monotonic", lambda: float(next(clock)))
    shown = Progress(ProgressFolder(str(tmp_path)), 1, 0.96, None)
    for _ in range(100):
        shown.status()
    times_s = [sample.time_s for sample in shown.samples]
    (step_s,) = {later - earlier for earlier, later in itertools.pairwise(times_s)}
    assert 4 <= len(times_s) <= 8
    assert times_s[0] == 1.0 and 100.0 - step_s < times_s[-1] <= 100.0

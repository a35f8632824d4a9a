"""Progress of a run: a live line on a terminal, plain lines elsewhere."""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from tqdm import tqdm

from pipeline.cli.run_log import RUN_LOG
from pipeline.cli.text import format_duration
from transforms.printable import counted, raw_stream, say
from transforms.progress import (
    CLIPS,
    CLIPS_DONE,
    FILES_READ,
    FRAMES,
    REJECTED,
    SHARDS,
    Counts,
    ProgressFolder,
)

# Update intervals on a terminal and elsewhere; reading the counts takes 0.1 ms.
_LIVE_S, _PLAIN_S = 0.5, 10.0
_MAX_SAMPLES = 512

STARTING, EMBEDDING, WRITING = "loading the model", "embedding", "writing shards"


@dataclass(frozen=True)
class Sample:
    """The progress of a run at one time, in seconds since the run began."""

    time_s: float
    clips_done: int
    rejected: int
    frames: int


@dataclass(frozen=True)
class Status:
    """The displayed status of a run.

    Attributes:
      stage: STARTING, EMBEDDING or WRITING.
      clips_expected: total number of clips; None while it is unknown.
      is_estimate: whether `clips_expected` is extrapolated from the files read so far.
      audio_s: seconds of audio embedded so far.
      working_s: seconds since the first clip.
    """

    stage: str
    clips_done: int = 0
    clips_expected: int | None = None
    is_estimate: bool = False
    rejected: int = 0
    shards: int = 0
    audio_s: float = 0.0
    working_s: float = 0.0

    @classmethod
    def of(cls, counts: Counts, num_files: int, hop_s: float, working_s: float) -> "Status":
        """Computes the status from the counts of a run over `num_files` files, with frames each `hop_s`."""
        files, clips, done, shards = counts[FILES_READ], counts[CLIPS], counts[CLIPS_DONE], counts[SHARDS]
        expected = max(round(clips / files * num_files), done) if files else None
        stage = (WRITING if shards else EMBEDDING) if done else STARTING
        is_estimate = files < num_files and clips != files
        audio_s = counts[FRAMES] * hop_s
        return cls(stage, done, expected, is_estimate, counts[REJECTED], shards, audio_s, working_s)

    @property
    def left_s(self) -> float | None:
        """Estimated seconds until the last clip at the average speed so far; None if there is no estimate."""
        if self.clips_expected is None or not self.clips_done or self.stage != EMBEDDING:
            return None
        return (self.clips_expected - self.clips_done) * self.working_s / self.clips_done

    def text(self, max_characters: int | None = None) -> str:
        """Returns the values except the stage in one line, without the last ones if they do not fit."""
        parts = [counted(self.clips_done, "clip")]
        if self.clips_expected is not None:
            about = "about " if self.is_estimate else ""
            parts = [f"{self.clips_done:,} of {about}{counted(self.clips_expected, 'clip')}"]
        if self.left_s is not None:
            parts.append(f"{format_duration(self.left_s)} left")
        parts.append(f"{self.rejected:,} rejected")
        if self.shards:
            parts.append(counted(self.shards, "shard"))
        if self.working_s > 0 and self.stage in (EMBEDDING, WRITING):
            parts.append(f"{self.clips_done / self.working_s:,.1f} clips/s")
        if self.audio_s:
            parts.append(f"{format_duration(self.audio_s)} of audio")
        if self.audio_s and self.working_s > 0 and self.stage in (EMBEDDING, WRITING):
            parts.append(f"{self.audio_s / self.working_s:,.0f}x real time")
        while max_characters is not None and len(parts) > 1 and len(", ".join(parts)) > max_characters:
            parts.pop()
        return ", ".join(parts)


class Progress:
    """Shows a run's progress from a separate thread, and records samples of it.

    Args:
      num_files, hop_s: number of inputs of the run, and time from one frame to the next in seconds.
      stream: stream to write to; None for no output.

    Attributes:
      samples: samples of the run at even intervals, fewer than 512.
    """

    def __init__(self, folder: ProgressFolder, num_files: int, hop_s: float, stream: TextIO | None):
        self.folder = folder
        self.samples: list[Sample] = []
        self._num_files, self._hop_s = num_files, hop_s
        self._begun = time.monotonic()
        self._first_clip: float | None = None
        self._last_clip = self._begun
        self._sample_every = 1
        self._stream, self._bar = stream, None
        if stream is not None and _has_width(stream):
            self._bar = tqdm(file=raw_stream(stream), leave=False, dynamic_ncols=True)
        self._next_line_s = self._begun + _PLAIN_S
        self._finished = threading.Event()
        self._ticks = 0
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def status(self) -> Status:
        """Reads the counts and returns the current status."""
        now, counts = time.monotonic(), self.folder.read()
        if counts[CLIPS] and self._first_clip is None:
            self._first_clip = now
        if not counts[SHARDS]:  # the time for writing shards does not count for the speed of embedding
            self._last_clip = now
        working_s = 0.0 if self._first_clip is None else self._last_clip - self._first_clip
        self._remember(Sample(now - self._begun, counts[CLIPS_DONE], counts[REJECTED], counts[FRAMES]))
        return Status.of(counts, self._num_files, self._hop_s, working_s)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops the display, and clears the live line."""
        self._finished.set()
        self._thread.join()
        self.status()
        if self._bar is not None:
            self._bar.close()

    def _run(self) -> None:
        while not self._finished.wait(_LIVE_S):
            self._show(self.status())

    def _show(self, status: Status) -> None:
        is_time = time.monotonic() >= self._next_line_s
        if is_time:
            self._next_line_s += _PLAIN_S
            RUN_LOG.info("%s: %s", status.stage, status.text())
        if self._stream is None:
            return
        if self._bar is not None:
            share = f" {status.clips_done / status.clips_expected:.0%}" if status.clips_expected else ""
            start = f"{status.stage}{share}: "
            columns = os.get_terminal_size(self._stream.fileno()).columns
            # Without the last column, in which some terminals wrap the line.
            self._bar.bar_format = start + status.text(columns - 1 - len(start))
            self._bar.refresh()
        elif is_time:
            say(f"{status.stage}: {status.text()}", file=self._stream, flush=True)

    def _remember(self, sample: Sample) -> None:
        if self._ticks % self._sample_every == 0:
            self.samples.append(sample)
        self._ticks += 1
        if len(self.samples) >= _MAX_SAMPLES:
            self.samples = self.samples[::2]
            self._sample_every *= 2


@contextmanager
def show_progress(num_files: int, hop_s: float, is_quiet: bool) -> Iterator[Progress]:
    """Shows progress on the error stream during a run."""
    with tempfile.TemporaryDirectory(prefix="progress-") as path:
        progress = Progress(ProgressFolder(path), num_files, hop_s, None if is_quiet else sys.stderr)
        progress.start()
        try:
            yield progress
        finally:
            progress.stop()


def _has_width(stream: TextIO) -> bool:
    """Returns whether a stream is a terminal that reports its width; in some containers it does not."""
    return stream.isatty() and os.get_terminal_size(stream.fileno()).columns > 0

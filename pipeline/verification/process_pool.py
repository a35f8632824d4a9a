"""Runs many small tasks on all cores, if there are enough tasks."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing import resource_tracker
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.process.ending import keep_terminal_from_children
from transforms.errors import OutputError
from transforms.launcher import Launcher, follow_launcher
from transforms.prefetch import num_cores

# (function, tasks) -> results in order, such as the built-in `map`.
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

# About the time to start the processes on a busy machine: their server imports everything that tasks need.
_PATIENCE_S = 10.0
_MAX_CHUNK = 32


class Processes(ExitStack):
    """Maps functions over tasks: at first in this process, so that few tasks are quick, later in several.

    The processes are forked from a new server process and not from this one: here, TensorFlow, Beam or CUDA
    may have threads that hold locks, which would stay locked forever in a forked process.

    Args:
      count: number of processes; None for one per core.
      modules: names of the modules of the functions, which the server imports once for all processes.
      beam_flags: Beam's filesystem options, such as --s3_endpoint_url; they also apply to this process.
      patience_s: time to work in this process before others start, in seconds.
    """

    def __init__(
        self,
        count: int | None = None,
        modules: Sequence[str] = (),
        beam_flags: Sequence[str] = (),
        patience_s: float = _PATIENCE_S,
    ):
        super().__init__()
        self._count = count or num_cores()
        self._modules = list(modules)
        self._beam_flags = list(beam_flags)
        _set_beam_options(self._beam_flags)
        self._deadline = time.monotonic() + patience_s
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yields the results in the tasks' order; the processes must be able to import the function.

        Raises:
          OutputError: a process was killed.
        """
        done = 0
        while done < len(tasks) and (self._count == 1 or time.monotonic() < self._deadline):
            yield function(tasks[done])
            done += 1
        rest = tasks[done:]
        if not rest:
            return
        self._pool = self._pool or self._start_pool()
        chunk = max(1, min(_MAX_CHUNK, len(rest) // (4 * self._count)))
        try:
            yield from self._pool.map(function, rest, chunksize=chunk)
        except BrokenProcessPool as error:
            raise OutputError(
                "a reader process was killed, possibly because memory ran out; free some memory and try again"
            ) from error

    def _start_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._modules)
        _start_resource_tracker()
        arguments = Launcher.this_process(), self._beam_flags
        pool = ProcessPoolExecutor(self._count, context, _begin_process, arguments)
        self.callback(pool.shutdown, cancel_futures=True)
        return pool


def _start_resource_tracker() -> None:
    """Starts Python's resource tracker, whose start unblocks Ctrl-C for children, and blocks it again.

    The tracker would also print the number of leaked semaphores if this process ends early; this is silenced.
    """
    before = os.environ.get("PYTHONWARNINGS")
    silent = "ignore::UserWarning:multiprocessing.resource_tracker"
    os.environ["PYTHONWARNINGS"] = f"{before},{silent}" if before else silent
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
        keep_terminal_from_children()


def _begin_process(launcher: Launcher | None, beam_flags: Sequence[str]) -> None:
    # If the executor is killed, its processes would wait for tasks forever.
    follow_launcher(launcher)
    _set_beam_options(beam_flags)


def _set_beam_options(flags: Sequence[str]) -> None:
    if flags:
        FileSystems.set_options(PipelineOptions(flags))

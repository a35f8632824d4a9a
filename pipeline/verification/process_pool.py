"""Many small tasks on all cores, where there are enough of them."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.process.ending import keep_terminal_from_children
from transforms.errors import OutputError
from transforms.launcher import Launcher, follow_launcher
from transforms.prefetch import num_cores

# A function and its tasks -> results, in order. The builtin `map` is one.
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

# About what starting the processes takes on a busy machine: their server imports all that tasks need.
_PATIENCE_S = 10.0
_MAX_CHUNK = 32


class Processes:
    """Maps functions over tasks: in this process for some seconds, then in several, so that little is quick.

    The processes come from a server that is started afresh: nothing is forked from this process, where
    TensorFlow, Beam or CUDA may have threads whose locks a fork would never see released.

    Args:
      count: of processes; None for one a core.
      modules: names of those that the functions are in, imported once for all processes.
      beam_flags: Beam's options of filesystems, as --s3_endpoint_url, for this process too.
      patience_s: time in this process.
    """

    def __init__(
        self,
        count: int | None = None,
        modules: Sequence[str] = (),
        beam_flags: Sequence[str] = (),
        patience_s: float = _PATIENCE_S,
    ):
        self._count = count or num_cores()
        self._modules = list(modules)
        self._beam_flags = list(beam_flags)
        _set_beam_options(self._beam_flags)
        self._deadline = time.monotonic() + patience_s
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Yields the results in the tasks' order.

        Args:
          function: of a module that the processes can import.

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
                "a process that was reading was killed, as when memory runs out; free some and try again"
            ) from error

    def _start_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(self._modules)
        _start_resource_tracker()
        launcher = Launcher.this_process()
        return ProcessPoolExecutor(self._count, context, _begin_process, (launcher, self._beam_flags))


def _start_resource_tracker() -> None:
    """Starts Python's own process that removes semaphores, whose start lets all children see Ctrl-C again.

    It also says how many there were where this process ends early, which is no news.
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
    # An executor's processes wait for tasks forever where it was killed.
    follow_launcher(launcher)
    _set_beam_options(beam_flags)


def _set_beam_options(flags: Sequence[str]) -> None:
    if flags:
        FileSystems.set_options(PipelineOptions(flags))

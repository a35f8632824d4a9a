"""Work that goes on in threads while the results before it are used."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Worker = TypeVar("Worker")


def num_cores() -> int:
    """Cores that this process may use.

    Fewer than the machine's where several workers share them, which TensorFlow's own variable tells, and in
    some containers and jobs of clusters.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    # 0 leaves it to TensorFlow, which takes all.
    return min(cores, int(given) or cores) if given.isdecimal() else cores


class _ClosedError(Exception):
    """Nobody wants the results any more."""


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    item: Item
    size: int
    results: deque[tuple[Result, int]] = field(default_factory=deque)
    is_done: bool = False
    error: BaseException | None = None


class OrderedPrefetcher(Generic[Item, Result, Worker]):
    """Works on items in threads; their results come in the items' order, whichever thread is the first.

    What waits is bounded, and one item may have any number of results: the thread that works on it waits
    until those before are taken. To be used by one thread, and closed.

    Args:
      work: yields an item's results; runs in a thread, with that thread's own worker.
      workers: one a thread.
      item_bytes, result_bytes: what they hold of memory.
      max_items: at work or waiting.
      max_bytes: that items may hold, and the same again for results.
    """

    def __init__(
        self,
        work: Callable[[Item, Worker], Iterable[Result]],
        workers: Sequence[Worker],
        item_bytes: Callable[[Item], int],
        result_bytes: Callable[[Result], int],
        max_items: int,
        max_bytes: int,
    ):
        self._work = work
        self._item_bytes, self._result_bytes = item_bytes, result_bytes
        self._max_items, self._max_bytes = max_items, max_bytes
        self._lock = threading.Lock()
        # Each for those who wait for it: one for all would wake every thread for every result.
        self._to_begin, self._room, self._first_goes_on = (threading.Condition(self._lock) for _ in range(3))
        self._jobs: deque[_Job[Item, Result]] = deque()  # in their order
        self._not_begun: deque[_Job[Item, Result]] = deque()
        self._items_hold = self._results_hold = 0
        self._is_closed = False
        self._threads = [
            # A process that ends in the middle does not wait for them.
            threading.Thread(target=self._run, args=(worker,), daemon=True, name=f"ahead-{number}")
            for number, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, item: Item) -> Iterator[Result]:
        """Takes an item to work on; yields results that are there, and waits for some if too much is held.

        Raises:
          What `work` raised on the item whose turn it is.
        """
        job: _Job[Item, Result] = _Job(item, self._item_bytes(item))
        with self._lock:
            self._jobs.append(job)
            self._not_begun.append(job)
            self._items_hold += job.size
            self._to_begin.notify()
        yield from self._take(self._max_items)

    def drain(self) -> Iterator[Result]:
        """Yields all results that are left; raises as `put`."""
        yield from self._take(0)

    def close(self) -> None:
        """Drops all that is left, and ends the threads."""
        with self._lock:
            self._is_closed = True
            self._jobs.clear()
            self._to_begin.notify_all()
            self._room.notify_all()
        for thread in self._threads:
            thread.join()

    def _take(self, most_items: int) -> Iterator[Result]:
        while True:
            with self._lock:
                while True:
                    if not self._jobs:
                        return
                    job = self._jobs[0]
                    if job.results:
                        result, size = job.results.popleft()
                        self._results_hold -= size
                        self._room.notify_all()
                        break
                    if job.is_done:
                        self._jobs.popleft()
                        self._items_hold -= job.size
                        self._room.notify_all()  # for the one that is the first now
                        if job.error is not None:
                            raise job.error
                    elif len(self._jobs) <= most_items and self._items_hold <= self._max_bytes:
                        return
                    else:
                        self._first_goes_on.wait()
            yield result

    def _run(self, worker: Worker) -> None:
        while True:
            with self._lock:
                while not self._not_begun and not self._is_closed:
                    self._to_begin.wait()
                if self._is_closed:
                    return
                job = self._not_begun.popleft()
            try:
                for result in self._work(job.item, worker):
                    self._add(job, result)
            except _ClosedError:
                return
            except BaseException as error:  # to be raised where the results are taken
                job.error = error
            with self._lock:
                job.is_done = True
                if self._jobs and job is self._jobs[0]:
                    self._first_goes_on.notify()

    def _add(self, job: _Job[Item, Result], result: Result) -> None:
        size = self._result_bytes(result)
        with self._lock:
            # The first in order may always have one, or nothing would go on.
            while (
                not self._is_closed
                and self._results_hold >= self._max_bytes
                and (job is not self._jobs[0] or job.results)
            ):
                self._room.wait()
            if self._is_closed:
                raise _ClosedError
            job.results.append((result, size))
            self._results_hold += size
            if job is self._jobs[0]:
                self._first_goes_on.notify()

"""Bounded, order-preserving prefetching in threads."""

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
    """Return the number of cores that this process may use.

    It is less than the machine's if several workers share the cores (TF_NUM_INTRAOP_THREADS gives the share),
    and in some containers and cluster jobs.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    # 0 means that TensorFlow chooses; it uses all cores.
    return min(cores, int(limit) or cores) if limit.isdecimal() else cores


class _ClosedError(Exception):
    """The prefetcher is closed, so the results are not needed."""


@dataclass(eq=False)
class _Job(Generic[Item, Result]):
    item: Item
    size: int
    results: deque[tuple[Result, int]] = field(default_factory=deque)
    is_done: bool = False
    error: BaseException | None = None


class OrderedPrefetcher(Generic[Item, Result, Worker]):
    """Processes items in threads and yields the results in the order of the items.

    Example: two threads, and items A, B, C with the results a1 a2, b1 and c1.

        thread 1:  A: a1 ------ a2    C: c1
        thread 2:  B: b1    (waits for the next item)
        put(A), put(B), put(C) and drain() together yield a1 a2 b1 c1

    B is done before A, but b1 waits until a2 has been taken: only the first job's results are taken.

    The memory is bounded. An item may have any number of results: when the results take `max_bytes`, threads
    wait until some are taken. The thread of the first item may always add one result, or nothing would
    continue. All methods must be called from one thread, and `close` at the end.

    Args:
      work: yields an item's results; runs in a thread with that thread's worker.
      workers: one per thread.
      item_bytes, result_bytes: return the memory that an item or a result takes, in bytes.
      max_items: number of items in progress or waiting at which `put` waits for results.
      max_bytes: memory of the items at which `put` waits, and memory of the results at which threads wait.
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
        # One condition per event. With a single condition, every result would wake every thread.
        self._job_queued, self._space_freed, self._first_job_changed = (
            threading.Condition(self._lock) for _ in range(3)
        )
        self._jobs: deque[_Job[Item, Result]] = deque()  # all unfinished or untaken jobs, in order
        self._queue: deque[_Job[Item, Result]] = deque()  # those that no thread has started
        self._total_item_bytes = self._total_result_bytes = 0
        self._is_closed = False
        self._threads = [
            # Daemon threads: a process that is interrupted does not wait for them.
            threading.Thread(target=self._run, args=(worker,), daemon=True, name=f"prefetch-{number}")
            for number, worker in enumerate(workers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, item: Item) -> Iterator[Result]:
        """Queue an item and yield the results that are ready; above a limit, wait for more results.

        An error of `work` is raised when its item's turn has come.
        """
        job: _Job[Item, Result] = _Job(item, self._item_bytes(item))
        with self._lock:
            self._jobs.append(job)
            self._queue.append(job)
            self._total_item_bytes += job.size
            self._job_queued.notify()
        yield from self._take(self._max_items)

    def drain(self) -> Iterator[Result]:
        """Yield all remaining results; raises the same errors as `put`."""
        yield from self._take(0)

    def close(self) -> None:
        """Discard all remaining items and results, and end the threads."""
        with self._lock:
            self._is_closed = True
            self._jobs.clear()
            self._job_queued.notify_all()
            self._space_freed.notify_all()
        for thread in self._threads:
            thread.join()

    def _take(self, max_items: int) -> Iterator[Result]:
        """Yield results in order, and wait for more while there are more items or bytes than allowed."""
        while True:
            with self._lock:
                while True:
                    if not self._jobs:
                        return
                    job = self._jobs[0]
                    if job.results:
                        result, size = job.results.popleft()
                        self._total_result_bytes -= size
                        self._space_freed.notify_all()
                        break
                    if job.is_done:
                        self._jobs.popleft()
                        self._total_item_bytes -= job.size
                        self._space_freed.notify_all()  # the new first job may add a result
                        if job.error is not None:
                            raise job.error
                    elif len(self._jobs) <= max_items and self._total_item_bytes <= self._max_bytes:
                        return
                    else:
                        self._first_job_changed.wait()
            yield result

    def _run(self, worker: Worker) -> None:
        """Process queued items until the prefetcher is closed."""
        while True:
            with self._lock:
                while not self._queue and not self._is_closed:
                    self._job_queued.wait()
                if self._is_closed:
                    return
                job = self._queue.popleft()
            try:
                for result in self._work(job.item, worker):
                    self._add(job, result)
            except _ClosedError:
                return
            except BaseException as error:  # raised again in the thread that takes the results
                job.error = error
            with self._lock:
                job.is_done = True
                if self._jobs and job is self._jobs[0]:
                    self._first_job_changed.notify()

    def _add(self, job: _Job[Item, Result], result: Result) -> None:
        """Add a result to its job; wait while the results take too much memory."""
        size = self._result_bytes(result)
        with self._lock:
            # The first job may always have one result, or nothing would continue.
            while (
                not self._is_closed
                and self._total_result_bytes >= self._max_bytes
                and (job is not self._jobs[0] or job.results)
            ):
                self._space_freed.wait()
            if self._is_closed:
                raise _ClosedError
            job.results.append((result, size))
            self._total_result_bytes += size
            if job is self._jobs[0]:
                self._first_job_changed.notify()

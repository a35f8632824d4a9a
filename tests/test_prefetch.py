import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.prefetch import OrderedPrefetcher


def prefetcher(work, num_threads: int = 2, max_items: int = 4, max_bytes: int = 1_000) -> OrderedPrefetcher:
    return OrderedPrefetcher(work, range(num_threads), lambda item: 1, lambda result: 1, max_items, max_bytes)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 5), max_size=12),
    num_threads=st.integers(1, 4),
    max_items=st.integers(0, 5),
    max_bytes=st.integers(1, 8),
)
def test_results_are_in_the_order_of_the_items(counts, num_threads, max_items, max_bytes):
    def work(item: tuple[int, int], worker: int) -> Iterator[tuple[int, int]]:
        number, count = item
        for place in range(count):
            time.sleep((number * 7 + place * 3) % 4 * 1e-4)
            yield number, place

    jobs = prefetcher(work, num_threads, max_items, max_bytes)
    found = []
    for item in enumerate(counts):
        found += jobs.put(item)
    found += jobs.drain()
    jobs.close()
    assert found == [(number, place) for number, count in enumerate(counts) for place in range(count)]


def test_next_items_are_processed_while_results_are_used():
    both = threading.Barrier(2, timeout=10)

    def work(item: int, worker: int) -> Iterator[tuple[int, int]]:
        both.wait()  # which one thread alone never passes
        yield item, worker

    jobs = prefetcher(work)
    found = [*jobs.put(0), *jobs.put(1), *jobs.drain()]
    jobs.close()
    assert [item for item, _ in found] == [0, 1]
    assert {worker for _, worker in found} == {0, 1}


def test_an_item_with_endless_results_waits_until_some_are_taken():
    made = []

    def work(item: int, worker: int) -> Iterator[int]:
        for number in range(1_000_000):
            made.append(number)
            yield number

    jobs = prefetcher(work, num_threads=1, max_items=0, max_bytes=3)
    results = jobs.put(0)
    assert [next(results) for _ in range(100)] == list(range(100))
    time.sleep(0.05)  # time enough to go on, if it did
    assert len(made) <= 100 + 3 + 1
    jobs.close()
    assert not any(thread.name.startswith("prefetch") and thread.is_alive() for thread in jobs._threads)


def test_an_error_is_raised_at_the_turn_of_its_item():
    def work(item: int, worker: int) -> Iterator[int]:
        yield item
        if item == 1:
            raise ValueError("the second")

    jobs = prefetcher(work)
    found = []
    with pytest.raises(ValueError, match="the second"):
        for item in range(3):
            found += jobs.put(item)
        for result in jobs.drain():
            found.append(result)
    assert found == [0, 1]
    assert list(jobs.drain()) == [2]
    jobs.close()


def test_large_items_are_not_prefetched():
    may_go_on = threading.Event()

    def work(item: int, worker: int) -> Iterator[int]:
        assert may_go_on.wait(10)
        yield item

    jobs = OrderedPrefetcher(
        work, range(2), lambda item: 600, lambda result: 1, max_items=10, max_bytes=1_000
    )
    assert list(jobs.put(0)) == []
    threading.Timer(0.05, may_go_on.set).start()
    # Two of them are more than the bound: the first is waited for.
    found = list(jobs.put(1))
    assert found[0] == 0
    assert found + list(jobs.drain()) == [0, 1]
    jobs.close()

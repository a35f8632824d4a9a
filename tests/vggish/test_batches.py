import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from transforms.errors import OutOfMemoryError
from transforms.vggish.batches import FixedBatches


def half_and_sum(batch):
    return batch / 2, batch.sum(axis=1)


@pytest.mark.parametrize("num", [0, 1, 4, 9])
def test_batches_have_one_shape_and_the_padding_is_cut_off(num):
    shapes = set()

    def predict(batch):
        shapes.add((batch.shape, batch.dtype))
        return half_and_sum(batch)

    inputs = np.arange(3 * num, dtype=np.int16).reshape(num, 3)
    halves, sums = FixedBatches(4).run(predict, inputs)
    assert shapes == {((4, 3), np.dtype(np.int16))}
    np.testing.assert_array_equal(halves, inputs / 2)
    np.testing.assert_array_equal(sums, inputs.sum(axis=1))


def test_padded_batches_are_placed_and_then_predicted():
    placed = []

    def place(batch):
        placed.append(batch.tolist())
        return len(placed)

    inputs = np.arange(3)[:, np.newaxis]
    (numbers,) = FixedBatches(2, place).run(lambda number: [np.full((2, 1), number)], inputs)
    assert placed == [[[0], [1]], [[2], [0]]]
    assert numbers.tolist() == [[1], [1], [2]]


def test_a_batch_that_does_not_fit_is_halved_for_good():
    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        if len(batch) > 2 or sizes == [8, 4, 2]:
            raise RuntimeError("RESOURCE_EXHAUSTED: 1 GB")
        return half_and_sum(batch)

    batches, inputs = FixedBatches(8), np.arange(30).reshape(10, 3)
    np.testing.assert_array_equal(batches.run(predict, inputs)[0], inputs / 2)
    assert set(sizes[3:]) == {1}
    sizes.clear()
    batches.run(predict, inputs)
    assert set(sizes) == {1}


def test_results_from_before_the_memory_ran_out_are_kept():
    """Backends may report it only when the results are fetched."""

    class Late:
        def __init__(self, values, fails):
            self._values, self._fails = values, fails

        def __array__(self, dtype=None, copy=None):
            if self._fails:
                raise MemoryError
            return self._values

    calls = []

    def predict(batch):
        calls.append(batch[:, 0].tolist())
        return [Late(2 * batch, fails=len(calls) == 2)]

    inputs = np.arange(7)[:, np.newaxis]
    (doubled,) = FixedBatches(4).run(predict, inputs)
    np.testing.assert_array_equal(doubled, 2 * inputs)
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 0], [4, 5], [6, 0]]


def test_a_single_example_that_does_not_fit_is_a_clear_error():
    def predict(batch):
        raise MemoryError("no room")

    with pytest.raises(OutOfMemoryError, match="even with batches of one example"):
        FixedBatches(8).run(predict, np.zeros((3, 2)))


def test_other_errors_are_raised_unchanged():
    def predict(batch):
        raise ValueError("wrong shape")

    with pytest.raises(ValueError, match="wrong shape"):
        FixedBatches(8).run(predict, np.zeros((3, 2)))


def test_threads_predict_one_after_the_other():
    running, most = 0, 0

    def predict(batch):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return [batch]

    batches = FixedBatches(2)
    with ThreadPoolExecutor(4) as executor:
        for number, (same,) in enumerate(
            executor.map(lambda n: batches.run(predict, np.full((5, 1), n)), range(4))
        ):
            np.testing.assert_array_equal(same, np.full((5, 1), number))
    assert most == 1


def test_a_batch_that_fails_in_two_threads_at_once_is_halved_once():
    meeting = threading.Barrier(2)

    class Full:
        def __array__(self, dtype=None, copy=None):
            meeting.wait(10)
            raise MemoryError

    sizes = []

    def predict(batch):
        sizes.append(len(batch))
        return [Full() if len(batch) == 8 else batch]

    batches, inputs = FixedBatches(8), np.arange(8)[:, np.newaxis]
    with ThreadPoolExecutor(2) as executor:
        for (same,) in executor.map(lambda _: batches.run(predict, inputs), range(2)):
            np.testing.assert_array_equal(same, inputs)
    assert sorted(sizes) == [4, 4, 4, 4, 8, 8]

import contextlib
import io
import os
import socket
import threading
import time

import numpy as np
import pytest
import soundfile
from isolating import RATE_HZ, encoded, examples_in
from sounds import noise

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.extraction import MAX_BYTES, Extraction
from transforms.audio.isolated.channel import Channel, DisconnectedError, Message, make_shared
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.vggish.params import Framing


def test_a_default_timeout_of_sockets_makes_no_difference(tmp_path):
    """Google's libraries set a default timeout in the parent."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1.0), RATE_HZ)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.2)
    decoder = IsolatedDecoder()
    try:
        with path.open("rb") as file:
            assert decoder.duration_s(file) == 1.0
            time.sleep(0.5)  # longer than the timeout, and the child waits
            assert decoder.duration_s(file) == 1.0
    finally:
        socket.setdefaulttimeout(before)
        decoder.close()


def test_arrays_larger_than_the_shared_memory_arrive_complete(decoder):
    extraction = Extraction(Framing(window_s=200.0, hop_s=0.5))  # 5 MB each
    file = io.BytesIO(encoded(noise(201.1)))
    found, expected = (examples_in(each, file, extraction) for each in (decoder, InProcessDecoder()))
    assert len(found) == 3 + 1 and found[0].nbytes > MAX_BYTES
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    shared = make_shared()
    with contextlib.closing(Channel(ours, shared)) as one, contextlib.closing(Channel(theirs, shared)) as two:
        os.close(shared)
        yield one, two


@pytest.mark.parametrize("value", [None, 0, 1.5, False, [3, None], {"a": "é\udce9"}, "x" * 300_000])
def test_a_value_arrives_as_it_was_sent(ends, value):
    one, two = ends
    sender = threading.Thread(target=one.send, args=(Message.VALUE, value), kwargs={"num_samples": 7})
    sender.start()
    received = two.receive()
    sender.join()
    assert (received.kind, received.value, received.num_samples) == (Message.VALUE, value, 7)
    assert type(received.value) is type(value) and not received.descriptors


def test_bytes_and_descriptors_arrive_in_order(ends, tmp_path):
    one, two = ends
    (tmp_path / "a").write_bytes(b"content")
    with open(tmp_path / "a", "rb") as file:
        one.send(Message.OPEN, b"\0\xff", [file.fileno()])
    one.send(Message.CLOSE)
    first, second = two.receive(), two.receive()
    assert (first.kind, bytes(first.body), second.kind, bytes(second.body)) == (
        1,
        b"\0\xff",
        Message.CLOSE,
        b"",
    )
    assert os.pread(first.descriptors[0], 10, 0) == b"content"
    os.close(first.descriptors[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 4), (1, 3 << 20)])
def test_an_array_arrives_as_a_copy_through_shared_memory_or_the_socket(ends, dtype, shape):
    one, two = ends
    array = np.random.default_rng(0).integers(-99, 99, shape).astype(dtype).swapaxes(0, -1)
    sender = threading.Thread(target=one.send, args=(Message.ARRAY, array))
    sender.start()
    received = two.receive()
    sender.join()
    assert received.body.dtype == dtype and np.array_equal(received.body, array)
    again = received.body.copy()
    one.send(Message.LAST, np.ones(9))
    assert np.array_equal(received.body, again) and two.receive().body.tolist() == [1.0] * 9


def test_the_position_is_visible_to_the_other_end(ends):
    one, two = ends
    one.position = 1 << 40
    assert two.position == 1 << 40


def test_the_end_of_the_other_process_is_an_error(ends):
    one, two = ends
    one.close()
    with pytest.raises(DisconnectedError):
        two.receive()
    with pytest.raises(DisconnectedError):
        two.send(Message.NEXT)

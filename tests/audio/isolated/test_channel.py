import io
import socket
import time

import numpy as np
import soundfile
from isolating import RATE_HZ, encoded, examples_in
from sounds import noise

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.extraction import MAX_BYTES, Extraction
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

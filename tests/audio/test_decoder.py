import io

import numpy as np
import pytest
from isolating import encoded

from transforms.audio.decoder import InProcessDecoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.errors import ClipError, Reason


@pytest.mark.parametrize("decode", [IsolatedDecoder, InProcessDecoder])
def test_spans_are_read_in_order_and_may_be_skipped(decode):
    decoder = decode()
    samples = np.random.default_rng(0).integers(-9_000, 9_000, 100_000).astype(np.int16)
    with decoder.open(io.BytesIO(encoded(samples))) as audio:
        assert (
            np.concatenate(list(audio.blocks(10, 70_000))).tolist() == (samples[10:70_000] / 2**15).tolist()
        )
        assert audio.num_samples == 69_990 and audio.has_sample_at(70_000)
        with pytest.raises(ClipError) as caught:
            list(audio.examples(Extraction(), 70_000, 70_500))
        assert caught.value.reason is Reason.TOO_SHORT
        assert audio.has_sample_at(99_999)
        assert np.concatenate(list(audio.blocks(99_999, 200_000))).tolist() == [samples[-1] / 2**15]
        assert audio.num_samples == 1 and not audio.has_sample_at(200_000)
        assert list(audio.blocks(300_000)) == [] and audio.num_samples == 0
    with decoder.open(io.BytesIO(encoded(samples))) as audio:
        assert not audio.has_sample_at(100_000)  # it looks there, not where the last span ended
    if isinstance(decoder, IsolatedDecoder):
        decoder.close()

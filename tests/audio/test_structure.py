import io

import av
import numpy as np
import pytest
from media import (
    OPUS,
    contained,
    decode,
    rejection_of,
    sweep,
    vorbis,
)
from surgery import ID3V1

from transforms.errors import Reason


def test_a_video_truncated_after_the_end_of_its_audio_is_corrupt():
    data = contained(sweep(48_000, 1, 1), 48_000, *OPUS, video_s=8)
    rejection = rejection_of(data[: len(data) * 2 // 3])
    assert rejection.reason is Reason.CORRUPT
    assert "of 8.0" in str(rejection)


@pytest.mark.parametrize(
    ("codec", "sample_format"), [("libopus", "flt"), ("pcm_s16le", "s16"), ("flac", "s16")]
)
def test_the_estimated_duration_of_a_live_file_is_ignored(codec, sample_format):
    # Twenty small clusters per second: ffmpeg's estimate from bit rate and size is over a second too long.
    options = {"live": "1", "cluster_time_limit": "50"}
    source = sweep(48_000, 1, 20)
    data = contained(source, 48_000, "matroska", codec, sample_format, options)
    assert len(decode(data)[0]) == len(source)
    assert 0.4 < len(decode(data[: len(data) // 2])[0]) / len(source) < 0.6


def test_a_duration_that_overflowed_in_ffmpeg_is_ignored():
    # When ffmpeg copies the packets of this Ogg file, the last length, -32, becomes 2**32 - 32.
    data = vorbis(sweep(8_000, 1), 8_000, "webm")
    with av.open(io.BytesIO(data)) as file:
        assert file.duration / 1e6 > 2**32 / 8_000
    assert len(decode(data)[0]) / 8_000 == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(("codec", "kind"), [("mp2", "s16"), ("aac", "fltp"), ("ac3", "fltp")])
def test_a_transport_stream_that_ends_between_two_packets_is_corrupt(codec, kind):
    data = contained(sweep(44_100, 2, 2), 44_100, "mpegts", codec, kind)
    for packets in range(len(data) // 188 * 2 // 3, len(data) // 188 * 2 // 3 + 6):
        if data[188 * packets + 1] & 0x40 == 0:  # the next packet continues the one that is cut
            assert rejection_of(data[: 188 * packets]).reason is Reason.CORRUPT
            return
    pytest.fail("no packet continues another one")


def test_an_flv_whose_recorder_was_killed_is_corrupt():
    data = contained(sweep(44_100, 2, 2), 44_100, "flv", "libmp3lame", "s16p")
    rejection = rejection_of(data[:-60])
    assert rejection.reason is Reason.CORRUPT
    assert "the last tag is cut off" in str(rejection)


def test_wavpack_that_ends_between_two_blocks_is_corrupt():
    data = contained(sweep(44_100, 2, 2), 44_100, "wv", "wavpack", "s16p")
    last = data.rindex(b"wvpk")
    rejection = rejection_of(data[:last])
    assert "ends at frame" in str(rejection)
    assert rejection.reason is Reason.CORRUPT
    np.testing.assert_array_equal(decode(data + ID3V1)[0], decode(data)[0])

import io
import struct

import media
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surgery import ID3V1, encoded, message_of, noise, numbered, ogg_pages, rate_of, samples_of, with_checksum

from transforms.audio.parsers.ogg_pages import page_checksum
from transforms.audio.soundfile_stream import SoundFileStream
from transforms.errors import ClipError, Reason

WHOLE = {name: encoded(noise(200_000, 1), 48_000, "OGG", name) for name in ("OPUS", "VORBIS")}
both = pytest.mark.parametrize("codec", WHOLE)


def with_granule(page: bytes, granule: int) -> bytes:
    return page[:6] + struct.pack("<q", granule) + page[14:]


def granule_of(page: bytes) -> int:
    return struct.unpack_from("<q", page, 6)[0]


def with_input_rate(opus: bytes, rate_hz: int) -> bytes:
    first, *rest = ogg_pages(opus)
    place = first.index(b"OpusHead") + 12
    first = with_checksum(first[:place] + struct.pack("<I", rate_hz) + first[place + 4 :])
    return b"".join([first, *rest])


def checksum_bit_by_bit(page: bytes) -> int:
    register = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register


@both
def test_checksums_equal_those_that_libogg_writes(codec):
    for page in ogg_pages(WHOLE[codec]):
        assert page_checksum(page) == struct.unpack_from("<I", page, 22)[0]
    assert page_checksum(page) == checksum_bit_by_bit(page)


@both
def test_a_chain_is_decoded_link_by_link(codec):
    parts = [encoded(noise(n, 1, n), 48_000, "OGG", codec) for n in (30_000, 7_000, 100_000)]
    expected = [samples_of(part) for part in parts]
    assert [len(part) for part in expected] == [30_000, 7_000, 100_000]
    np.testing.assert_array_equal(samples_of(b"".join(parts)), np.concatenate(expected))


def test_a_chain_of_two_codecs_is_decoded_too():
    parts = [encoded(noise(20_000, 1), 48_000, "OGG", codec) for codec in ("OPUS", "VORBIS")]
    assert len(samples_of(b"".join(parts))) == 40_000


@both
def test_a_chain_that_changes_its_channels_is_corrupt(codec):
    stereo = encoded(noise(20_000, 2), 48_000, "OGG", codec)
    assert message_of(WHOLE[codec] + stereo) == "changes to 48000 Hz and 2 channels"


def test_a_chain_that_changes_its_rate_is_corrupt():
    other = encoded(noise(20_000, 1), 44_100, "OGG", "VORBIS")
    assert message_of(WHOLE["VORBIS"] + other) == "changes to 44100 Hz and 1 channel"


@both
def test_missing_pages_are_corrupt(codec):
    pages = ogg_pages(WHOLE[codec])
    assert len(pages) > 6
    for lost in range(1, len(pages) - 1):
        assert "Ogg pages are lost" in message_of(b"".join(pages[:lost] + pages[lost + 1 :]))


@both
def test_a_stream_without_its_last_page_is_corrupt(codec):
    pages = ogg_pages(WHOLE[codec])
    assert "without its last page" in message_of(b"".join(pages[:-1]))
    assert "without its last page" in message_of(b"".join(pages[:-1]) + WHOLE[codec])


@both
def test_damage_in_any_page_is_corrupt(codec):
    data, place = WHOLE[codec], 0
    for page in ogg_pages(data):
        at = place + len(page) - 1
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert f"the Ogg page at byte {place} is damaged" in message_of(damaged)
        place += len(page)


@both
@settings(max_examples=40)
@given(data=st.data())
def test_a_truncated_file_is_rejected(codec, data):
    cut = data.draw(st.integers(0, len(WHOLE[codec]) - 1))
    with pytest.raises(ClipError) as caught:
        samples_of(WHOLE[codec][:cut])
    assert caught.value.reason in (Reason.CORRUPT, Reason.NOT_AUDIO)


@both
def test_a_last_page_that_states_too_many_samples_is_corrupt(codec):
    *pages, last = ogg_pages(WHOLE[codec])
    longer = with_checksum(with_granule(last, granule_of(last) + 100_000))
    assert "ends at frame" in message_of(b"".join([*pages, longer]))


@both
def test_a_last_page_that_states_fewer_samples_trims_the_end(codec):
    *pages, last = ogg_pages(WHOLE[codec])
    shorter = with_checksum(with_granule(last, granule_of(last) - 50))
    np.testing.assert_array_equal(samples_of(b"".join([*pages, shorter])), samples_of(WHOLE[codec])[:-50])


@both
def test_a_recording_that_joined_a_stream_late_is_decoded_from_its_first_page(codec):
    pages = ogg_pages(WHOLE[codec])
    late = [with_granule(page, granule_of(page) + 1_000_000) for page in pages[2:]]
    shifted = samples_of(numbered(pages[:2] + late))
    np.testing.assert_array_equal(shifted, samples_of(WHOLE[codec]))
    middle = samples_of(numbered(pages[:2] + pages[4:]))
    # Opus skips 312 samples; the first packet of Vorbis has none.
    missing = 200_000 - granule_of(pages[3]) - len(middle)
    assert missing == 0 if codec == "OPUS" else missing == 1_024


def test_a_chain_of_late_recordings_is_decoded_link_by_link():
    pages = ogg_pages(WHOLE["OPUS"])
    late = numbered(pages[:2] + [with_granule(page, granule_of(page) + 1_000_000) for page in pages[2:]])
    whole = samples_of(WHOLE["OPUS"])
    np.testing.assert_array_equal(samples_of(late + late + WHOLE["OPUS"]), np.concatenate([whole] * 3))


@both
def test_bytes_after_the_last_page_are_ignored_unless_they_are_a_page(codec):
    np.testing.assert_array_equal(samples_of(WHOLE[codec] + ID3V1), samples_of(WHOLE[codec]))
    assert "damaged or cut off" in message_of(WHOLE[codec] + WHOLE[codec][:20])


@pytest.mark.parametrize("rate_hz", [0, 1, 8_000, 16_000, 24_000, 44_100, 96_000, 0xFFFFFFFF])
def test_opus_is_decoded_at_48_khz_for_any_input_rate_in_its_header(rate_hz):
    data = with_input_rate(WHOLE["OPUS"], rate_hz)
    assert rate_of(data) == 48_000
    np.testing.assert_array_equal(samples_of(data), samples_of(WHOLE["OPUS"]))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_opus_decodes_to_the_same_audio_from_ogg_and_webm(rate_hz, channels):
    ogg = encoded(media.sweep(rate_hz, channels), rate_hz, "OGG", "OPUS")
    webm, webm_rate_hz = media.decode(media.rewrapped(ogg, "webm"))
    samples = samples_of(ogg)
    assert rate_of(ogg) == webm_rate_hz == 48_000
    assert len(samples) == len(webm) == 72_000
    # Two decoders: libopus, and ffmpeg's own, whose SILK is one sample early.
    assert media.lag(samples, webm) in (0, -1)
    assert media.error(samples[36_000:], webm[36_000:]) < 1e-3


def test_ogg_files_from_ffmpeg_decode_completely():
    for codec, data in WHOLE.items():
        copy = media.rewrapped(data, "ogg")
        assert copy != data
        np.testing.assert_array_equal(samples_of(copy), samples_of(data), err_msg=codec)
    samples = media.sweep(48_000, 2)
    opus = media.contained(samples, 48_000, "ogg", "libopus", "flt")
    assert samples_of(opus).shape == samples.shape


@pytest.mark.parametrize("codec", ["flac", "speex"])
def test_other_codecs_and_multiple_streams_go_to_the_next_decoder(codec):
    if codec == "flac":
        data = media.contained(media.sweep(48_000, 1), 48_000, "ogg", "flac", "s16")
    else:
        pages = [ogg_pages(WHOLE[name]) for name in WHOLE]
        data = b"".join([pages[0][0], pages[1][0], *pages[0][1:], *pages[1][1:]])
    with pytest.raises(ClipError) as caught:
        SoundFileStream(io.BytesIO(data))
    assert caught.value.reason is Reason.NOT_AUDIO

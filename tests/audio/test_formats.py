"""Which decoder gets a file, messages about unknown files, and files that ffmpeg never gets."""

import io
import re
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from media import (
    M4A,
    MKV_FLAC,
    OPUS,
    WMA,
    contained,
    rejection_of,
    sweep,
)

from transforms.audio.decode import open_audio
from transforms.audio.formats import FFMPEG, FORMATS, HEAD_BYTES, LIBSNDFILE, find_format
from transforms.errors import ClipError, Reason

INPUTS = Path(__file__).resolve().parents[2] / "docs" / "inputs.md"
# Files with which ffmpeg would try to open other files.
PLAYLISTS = {
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "DASH": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{path}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "address": "{path}\n",
}


def test_the_table_of_formats_in_the_docs_equals_the_code():
    section = INPUTS.read_text().partition("## Formats\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", section.partition("\n### ")[0], re.MULTILINE)
    assert rows[0] == ("format", "decoder", "promised and compared")
    assert rows[1:] == [(form.name, ", then ".join(form.decoders), form.compared) for form in FORMATS]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        *((start + b"1234WAVEfmt ", "WAV, RF64") for start in (b"RIFF", b"RIFX", b"RF64")),
        (b"riff\x2e\x91\xcf\x11", "W64"),
        *((b"FORM1234" + kind, "AIFF, 8SVX") for kind in (b"AIFF", b"AIFC", b"8SVX")),
        (b"caff\0\1", "CAF"),
        *((mark + b"\0\0\0\x18", "AU") for mark in (b".snd", b"dns.")),
        (b"NIST_1A\n   1024\n", "NIST"),
        (b"fLaC\0\0\0\x22", "FLAC"),
        (b"OggS\0\2", "Ogg"),
        (b"\0\0\0\x20ftypM4A ", "MP4, M4A, MOV"),
        (b"\x1a\x45\xdf\xa3\x9f", "WebM, MKV"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "WMA, WMV"),
        (b"RIFF1234AVI LIST", "AVI"),
        (b"FLV\x01\x04", "FLV"),
        (5 * (b"\x47" + bytes(187)), "MPEG-TS"),
        *((mark + b"\x3c", "AMR") for mark in (b"#!AMR\n", b"#!AMR-WB\n")),
        (b"wvpk\x20", "WavPack"),
        (b"RIFF1234WEBP", None),
        (b"LIST1234WAVE", None),
        (b"#!AMR", None),
    ],
)
def test_a_format_is_found_by_its_first_bytes(head, name):
    found = find_format(head)
    assert (found and found.name) == name


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_timestamps_and_streams_are_compared_where_the_docs_say_so(form):
    assert form.has_timestamps == form.compared.endswith("gaps") or form.name == "Ogg"
    assert form.counts_all_streams == ("the longest stream" in form.compared or form.name == "WMA, WMV")


def test_every_demuxer_exists_in_ffmpeg():
    assert {form.demuxer for form in FORMATS if form.demuxer} <= set(av.formats_available)
    assert all(form.demuxer for form in FORMATS if form.decoders != (LIBSNDFILE,))


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *((container, "PCM_16") for container in ("WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC")),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_every_format_that_libsndfile_writes_is_recognised(container, subtype):
    file = io.BytesIO()
    soundfile.write(file, sweep(16_000, 1, 1), 16_000, format=container, subtype=subtype)
    form = find_format(file.getvalue())
    assert form is not None and form.decoders[0] == LIBSNDFILE


@pytest.mark.parametrize(
    "data",
    [
        b"no audio\n" * 100,
        "text".encode("utf-16"),
        bytes(5_000),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xfb",
        b"x",
    ],
)
def test_the_message_about_unknown_formats_shows_the_first_bytes(data):
    rejection = rejection_of(data)
    assert rejection.reason is Reason.NOT_AUDIO
    assert f"no known audio format; the file begins with {data[:8].hex(' ')} (" in str(rejection)


@pytest.mark.parametrize("form", [form for form in FORMATS if form.name not in ("ADTS AAC", "MP3, MP2, MP1")])
def test_magic_bytes_followed_by_garbage_are_rejected_with_a_cause(form):
    marks = {
        "WAV, RF64": b"RIFF\xff\xff\0\0WAVE",
        "W64": b"riff\x2e\x91\xcf\x11",
        "AIFF, 8SVX": b"FORM\0\0\xff\xffAIFF",
        "AU": b".snd",
        "NIST": b"NIST_1A\n",
        "CAF": b"caff",
        "FLAC": b"fLaC",
        "Ogg": b"OggS",
        "MP4, M4A, MOV": b"\0\0\0\x18ftypM4A ",
        "WebM, MKV": b"\x1a\x45\xdf\xa3",
        "WMA, WMV": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "AVI": b"RIFF\xff\xff\0\0AVI ",
        "FLV": b"FLV\x01",
        "MPEG-TS": (b"G" + bytes(187)) * 8,
        "AMR": b"#!AMR-WB\n",
        "WavPack": b"wvpk",
    }
    data = marks[form.name] + np.random.default_rng(0).bytes(3_000)
    assert find_format(data) is form
    rejection = rejection_of(data)
    assert rejection.reason in (Reason.NOT_AUDIO, Reason.CORRUPT)
    message = str(rejection)
    assert not re.search("Unspecified internal error|does not exist|not recognised|raises", message)


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_never_followed(name, tmp_path):
    path = tmp_path / "secret.wav"
    soundfile.write(path, sweep(16_000, 1, 2), 16_000)
    for prefix in (b"", b"ID3\x04\0\0\0\0\0\0"):
        rejection = rejection_of(prefix + PLAYLISTS[name].format(path=path).encode())
        assert rejection.reason is Reason.NOT_AUDIO


def test_a_reference_in_a_mov_is_never_followed(tmp_path):
    """Make a `url ` entry that refers to samples in another file."""
    path = tmp_path / "other.raw"
    path.write_bytes(bytes(1 << 20))
    data = contained(sweep(16_000, 1, 2), 16_000, "mov", "pcm_s16le", "s16")
    begin = data.index(b"dref") - 4
    entry = bytes(data[begin : begin + struct.unpack_from(">I", data, begin)[0]])
    address = f"file://{path}".encode() + b"\0"
    other = struct.pack(">I4sII", 16 + 12 + len(address), b"dref", 0, 1)
    other += struct.pack(">I4sI", 12 + len(address), b"url ", 0) + address
    grown = bytearray(data.replace(entry, other))
    # The boxes around the entry, which follow the samples, grow with it.
    place = len(grown)
    for kind in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = grown.rindex(kind, 0, min(place, grown.index(b"dref"))) - 4
        length = struct.unpack_from(">I", grown, place)[0] + len(other) - len(entry)
        struct.pack_into(">I", grown, place, length)
    before = path.stat().st_atime_ns
    try:
        with open_audio(io.BytesIO(grown)) as stream:
            decoded = np.concatenate(list(stream.blocks()))
            assert decoded.any(), "samples of the file itself"
    except ClipError as error:
        assert error.reason in (Reason.NOT_AUDIO, Reason.CORRUPT)
    assert path.stat().st_atime_ns == before


@pytest.mark.parametrize(
    ("container", "codec", "sample_format"),
    [M4A, ("mov", "aac", "fltp"), OPUS, MKV_FLAC, WMA, ("adts", "aac", "fltp")],
)
def test_containers_are_recognised_by_their_first_bytes(container, codec, sample_format):
    data = contained(sweep(48_000, 1), 48_000, container, codec, sample_format)
    for head in (data[:HEAD_BYTES], data[:64]):
        assert decoders_of(head) == (FFMPEG,)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None)],
)
def test_libsndfile_is_tried_first_for_its_formats(container, subtype, channels):
    file = io.BytesIO()
    soundfile.write(file, sweep(48_000, channels), 48_000, format=container, subtype=subtype)
    for head in (file.getvalue()[:HEAD_BYTES], file.getvalue()[:64]):
        assert decoders_of(head)[0] == LIBSNDFILE


@pytest.mark.parametrize("second", range(256))
def test_an_mp3_frame_is_never_recognised_as_aac(second):
    layer = second >> 1 & 0b11
    head = bytes([0xFF, second, 0x90, 0x64]) + bytes(1_000)
    assert not (layer and decoders_of(head) == (FFMPEG,))


def decoders_of(head: bytes) -> tuple[str, ...]:
    form = find_format(head)
    return form.decoders if form else (LIBSNDFILE,)


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"ID,start\nabc,30\n", bytes(1_000), b"\xff" * 9_000, b"\xff\xfeh\0e\0l\0l\0o\0"]
)
def test_other_files_are_not_audio(data):
    assert decoders_of(data)[0] == LIBSNDFILE
    assert rejection_of(data).reason is Reason.NOT_AUDIO

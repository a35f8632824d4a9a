"""The audio formats: how each is told by its content, which decoder reads it, and what it promises.

`FORMATS` is the one table of them; that in docs/inputs.md is held to it by a test.
"""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.audio.parsers.mpeg_header import frame_lengths, parse_header

LIBSNDFILE, FFMPEG = "libsndfile", "ffmpeg"

# What `find_format` looks at: the longest ADTS frame (13 bits of length) and the next one's header.
HEAD_BYTES = (1 << 13) + 7

# Packets of a transport stream: plain, with a time code before each (Blu-ray), with parity behind each (DVB).
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_PACKETS_SEEN = 5
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Attributes:
      name: for people.
      is_format: tells it by a file's first bytes, behind any tags.
      decoders: in the order in which they are asked; the second where the first does not know the file.
      demuxer: ffmpeg's name of the only demuxer that may read it. None of these opens another file; ffmpeg's
        own search would try playlists too.
      compared: what the file promises, and what of it is compared with the audio that is decoded.
      has_timestamps: each packet says when it is heard, so that what is missing shows as a gap. Elsewhere
        ffmpeg counts samples or bytes.
      is_tagged: may have APE or ID3v1 tags behind its audio.
      is_chained: frames and nothing else, so that each begins where the one before it ends, up to the end
        of the audio.
      max_shortfall_s: by how much the audio may end before the length that the header states.
      counts_all_streams: the length that the header states is that of the longest stream.
    """

    name: str
    is_format: Callable[[bytes], bool]
    decoders: tuple[str, ...]
    demuxer: str | None
    compared: str
    has_timestamps: bool = False
    is_tagged: bool = False
    is_chained: bool = False
    counts_all_streams: bool = False
    max_shortfall_s: float = 0.5


def find_format(head: bytes) -> Format | None:
    """The format of a file with these first bytes (`HEAD_BYTES`, or all that it has), behind any tags."""
    return next((form for form in FORMATS if form.is_format(head)), None)


def adts_length(head: bytes) -> int:
    """Bytes of the ADTS frame that begins here, or 0: ISO/IEC 13818-7, 6.2. MP3's layer is not 0."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 0xF > 12:
        return 0
    length = (head[3] & 0x3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def transport_packets(head: bytes) -> tuple[int, int] | None:
    """Bytes of a transport stream's packets, and where in them the sync byte is; None of anything else."""
    for size, sync in _TS_PACKETS:
        marks = head[sync : size * _TS_PACKETS_SEEN : size]
        if marks == b"\x47" * _TS_PACKETS_SEEN:
            return size, sync
    return None


def _starts(*marks: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(marks)


def _riff(*kinds: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM") and head[8:12] in kinds


def _is_mp4(head: bytes) -> bool:
    return head[4:8] in _MP4_BOXES and int.from_bytes(head[:4], "big") not in range(2, 8)


def _is_adts(head: bytes) -> bool:
    length = adts_length(head)
    return length > 0 and (len(head) <= length or adts_length(head[length:]) > 0)


def _is_mpeg_audio(head: bytes) -> bool:
    """Two frames of one kind, or one as long as the file. Free format is left to libsndfile to find."""
    kind = parse_header(head)
    length = frame_lengths(kind)[head[2]] if kind else 0
    return length > 0 and (len(head) == length or parse_header(head[length:]) is not None)


def _is_transport_stream(head: bytes) -> bool:
    return transport_packets(head) is not None


_SIZE = "the size of the samples, and what follows them"

FORMATS = (
    # Compressed samples that libsndfile does not know are ffmpeg's, and their size is not compared.
    Format("WAV, RF64", _riff(b"WAVE"), (LIBSNDFILE, FFMPEG), "wav", _SIZE),
    Format("W64", _starts(b"riff\x2e\x91\xcf\x11"), (LIBSNDFILE,), None, _SIZE),
    Format("AIFF, 8SVX", _riff(b"AIFF", b"AIFC", b"8SVX"), (LIBSNDFILE,), None, _SIZE),
    Format("CAF", _starts(b"caff"), (LIBSNDFILE,), None, _SIZE),
    Format("AU", _starts(b".snd", b"dns."), (LIBSNDFILE,), None, _SIZE),
    Format("NIST", _starts(b"NIST_1A"), (LIBSNDFILE,), None, _SIZE),
    Format(
        "FLAC",
        _starts(b"fLaC"),
        (LIBSNDFILE, FFMPEG),
        "flac",
        "STREAMINFO's number of samples, exactly; each frame's checksum; what follows",
        is_tagged=True,
    ),
    Format(
        "Ogg",
        _starts(b"OggS"),
        (LIBSNDFILE, FFMPEG),
        "ogg",
        "each page's checksum and number, the last page, its granule position",
        has_timestamps=True,
    ),
    Format(
        "MP3, MP2, MP1",
        _is_mpeg_audio,
        (LIBSNDFILE,),
        None,
        "the number of frames in a Xing, Info or VBRI header; that frames follow each other",
    ),
    Format(
        "MP4, M4A, MOV",
        _is_mp4,
        (FFMPEG,),
        "mov",
        "the length of the track, to half a second; that no box ends behind the file; gaps",
        has_timestamps=True,
    ),
    Format(
        "WebM, MKV",
        _starts(b"\x1a\x45\xdf\xa3"),
        (FFMPEG,),
        "matroska",
        "the length of the longest stream, to half a second; gaps",
        has_timestamps=True,
        counts_all_streams=True,
    ),
    Format(
        "WMA, WMV",
        _starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
        (FFMPEG,),
        "asf",
        "the play duration, to half a second; gaps",
        has_timestamps=True,
        counts_all_streams=True,
    ),
    Format(
        "ADTS AAC",
        _is_adts,
        (FFMPEG,),
        "aac",
        "that each frame begins where the one before it ends, up to the end of the file",
        is_tagged=True,
        is_chained=True,
    ),
    Format(
        "AVI",
        _riff(b"AVI "),
        (FFMPEG,),
        "avi",
        "the stream's number of frames or bytes, to 0.1 s; that no list of packets ends behind the file",
        max_shortfall_s=0.1,  # a frame of MP3 at 8 kHz: lengths may be bytes
    ),
    Format(
        "FLV",
        _starts(b"FLV\x01"),
        (FFMPEG,),
        "flv",
        "the length of the longest stream, to half a second; that the last tag is whole; gaps",
        has_timestamps=True,
        counts_all_streams=True,
    ),
    Format(
        "MPEG-TS",
        _is_transport_stream,
        (FFMPEG,),
        "mpegts",
        "the length of the packets; gaps",
        has_timestamps=True,
    ),
    Format(
        "AMR",
        _starts(b"#!AMR\n", b"#!AMR-WB\n"),
        (FFMPEG,),
        "amr",
        "that each frame begins where the one before it ends, up to the end of the file",
        is_tagged=True,
        is_chained=True,
    ),
    Format(
        "WavPack",
        _starts(b"wvpk"),
        (FFMPEG,),
        "wv",
        "the first block's number of samples, exactly; each block's checksum; that blocks follow each other",
        is_tagged=True,
        is_chained=True,
    ),
)

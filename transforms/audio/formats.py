"""The table of audio formats: how to recognise each one, which decoder reads it, and what is checked.

A test checks that the table in docs/inputs.md is equal to `FORMATS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from transforms.audio.parsers.mpeg_header import frame_lengths, parse_header

LIBSNDFILE, FFMPEG = "libsndfile", "ffmpeg"

# Bytes that `find_format` needs: the longest ADTS frame (13 bits of length) and the next one's header.
HEAD_BYTES = (1 << 13) + 7

# (packet bytes, offset of the sync byte) of transport streams: plain, with a time code before each packet
# (Blu-ray), with parity after each packet (DVB).
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_PACKETS_SEEN = 5
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


@dataclass(frozen=True)
class Format:
    """One row of the table.

    Attributes:
      name: for people.
      is_format: recognises the format by a file's first bytes after any tags.
      decoders: in the order in which they are tried; the second one if the first does not know the file.
      demuxer: ffmpeg's name of the only demuxer that may read the file. None of these demuxers opens another
        file, while ffmpeg's own search would try playlists too.
      compared: what the file states about its length and structure, and is compared with the decoded audio.
      has_timestamps: whether packets have timestamps, so that missing audio shows as a gap. For the other
        formats ffmpeg counts samples or bytes.
      is_tagged: whether APE or ID3v1 tags may follow the audio.
      is_contiguous: whether the file has frames and nothing else, each of which begins where the one before
        it ends, up to the end of the audio.
      max_shortfall_s: by how much the audio may end before the length in the header.
      counts_all_streams: whether the length in the header is that of the longest stream.
    """

    name: str
    is_format: Callable[[bytes], bool]
    decoders: tuple[str, ...]
    demuxer: str | None
    compared: str
    has_timestamps: bool = False
    is_tagged: bool = False
    is_contiguous: bool = False
    counts_all_streams: bool = False
    max_shortfall_s: float = 0.5


def find_format(head: bytes) -> Format | None:
    """Find the format of a file by its first bytes (`HEAD_BYTES`, or fewer in short files) after any tags."""
    return next((fmt for fmt in FORMATS if fmt.is_format(head)), None)


def adts_length(head: bytes) -> int:
    """Return the length of the ADTS frame that begins here, or 0 (ISO/IEC 13818-7, 6.2); MP3 gives 0."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 0xF > 12:
        return 0
    length = (head[3] & 0x3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def transport_packets(head: bytes) -> tuple[int, int] | None:
    """Return a transport stream's bytes per packet and the offset of the sync byte; None for other files."""
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


_is_amr = _starts(b"#!AMR\n", b"#!AMR-WB\n")


def _is_adts(head: bytes) -> bool:
    length = adts_length(head)
    return length > 0 and (len(head) <= length or adts_length(head[length:]) > 0)


def _is_mpeg_audio(head: bytes) -> bool:
    """Accept two frames of one kind, or one as long as the file. libsndfile has to find free format."""
    kind = parse_header(head)
    length = frame_lengths(kind)[head[2]] if kind else 0
    return length > 0 and (len(head) == length or parse_header(head[length:]) is not None)


_SIZE = "the size of the samples, and what follows them"
_FRAMES = "that each frame begins where the one before it ends, up to the end of the file"

FORMATS = (
    # ffmpeg decodes the compressed samples that libsndfile does not know; their size is not compared.
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
        "the length of the track, to half a second; that no box extends beyond the file; gaps",
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
    Format("ADTS AAC", _is_adts, (FFMPEG,), "aac", _FRAMES, is_tagged=True, is_contiguous=True),
    Format(
        "AVI",
        _riff(b"AVI "),
        (FFMPEG,),
        "avi",
        "the stream's number of frames or bytes, to 0.1 s; that no list of packets extends beyond the file",
        max_shortfall_s=0.1,  # one MP3 frame at 8 kHz, because the length may be in bytes
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
        lambda head: transport_packets(head) is not None,
        (FFMPEG,),
        "mpegts",
        "the length of the packets; gaps",
        has_timestamps=True,
    ),
    Format("AMR", _is_amr, (FFMPEG,), "amr", _FRAMES, is_tagged=True, is_contiguous=True),
    Format(
        "WavPack",
        _starts(b"wvpk"),
        (FFMPEG,),
        "wv",
        "the first block's number of samples, exactly; each block's checksum; that blocks follow each other",
        is_tagged=True,
        is_contiguous=True,
    ),
)

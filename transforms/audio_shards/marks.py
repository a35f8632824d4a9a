"""What audio looks like: extensions of file names, and first bytes."""

import re

# fmt: off
AUDIO_EXTENSIONS = frozenset([
    "3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf", "flac", "flv", "m4a", "m4b",
    "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpga", "oga", "ogg", "ogv", "opus", "rf64", "snd", "ts",
    "w64", "wav", "wave", "webm", "wma", "wmv", "wv",
])
# fmt: on
# Containers that begin with a mark of their own. ISO files with an image's brand (HEIC, AVIF) are no audio.
_MARKS = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|riff|FORM....AIF|fLaC|OggS|caff|\.snd|ID3|#!AMR|wvpk|MAC |FLV\x01"
    rb"|....ftyp(?!heic|heix|hevc|mif1|msf1|avif|avis|crx )|....(?:moov|mdat|wide)"
    rb"|\x1aE\xdf\xa3|0&\xb2u\x8ef\xcf",
    re.DOTALL,
)
# Of a file, enough to tell its form.
HEAD_BYTES = 4096
_MPEG_VERSION_1 = 3
# Rates of MPEG audio version 1 in Hz, and of its layers II and III in kbit/s (ISO 11172-3, 2.4.2.3).
_RATES_HZ = (44_100, 48_000, 32_000)
_KBITS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def has_mark(head: bytes) -> bool:
    """Whether bytes begin as a container of audio does that has a mark of its own."""
    return _MARKS.match(head) is not None


def looks_like_audio(head: bytes) -> bool:
    """Whether the first 4096 bytes of a file are audio's: a mark, or two frames of MPEG audio or of AAC."""
    first = _frame_bytes(head)
    return has_mark(head) or (first > 0 and _frame_bytes(head[first:]) > 0)


def _frame_bytes(data: bytes) -> int:
    """Length of the frame of MPEG audio (layers II and III) or AAC in ADTS that begins here; 0: none does."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[1] >> 3 & 3, data[1] >> 1 & 3
    if data[1] & 0xF6 == 0xF0:  # ADTS: version bit, layer 0, CRC bit
        rate, size = data[2] >> 2 & 15, (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        return size if rate < 13 and size > 7 else 0
    table = _KBITS.get((1 if version == _MPEG_VERSION_1 else 2, layer))
    bit_rate, rate = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or table is None or not 0 < bit_rate < 15 or rate == 3:
        return 0
    # Versions 2 and 2.5 have half and a quarter of the rates; their layer III has half the samples per frame.
    rate_hz = _RATES_HZ[rate] >> {_MPEG_VERSION_1: 0, 2: 1, 0: 2}[version]
    samples = 576 if version != _MPEG_VERSION_1 and layer == 1 else 1152
    return samples // 8 * table[bit_rate - 1] * 1000 // rate_hz + (data[2] >> 1 & 1)

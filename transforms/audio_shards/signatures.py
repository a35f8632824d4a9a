"""Recognizes audio files by their extension and by their first bytes."""

import re

# fmt: off
AUDIO_EXTENSIONS = frozenset([
    "3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "ape", "au", "avi", "caf", "flac", "flv", "m4a", "m4b",
    "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpga", "oga", "ogg", "ogv", "opus", "rf64", "snd", "ts",
    "w64", "wav", "wave", "webm", "wma", "wmv", "wv",
])
# fmt: on
# Containers that begin with a signature. ISO files with the brand of an image (HEIC, AVIF) are not audio.
_SIGNATURES = re.compile(
    rb"RIFF....(?:WAVE|AVI )|RF64....WAVE|riff|FORM....AIF|fLaC|OggS|caff|\.snd|ID3|#!AMR|wvpk|MAC |FLV\x01"
    rb"|....ftyp(?!heic|heix|hevc|mif1|msf1|avif|avis|crx )|....(?:moov|mdat|wide)"
    rb"|\x1aE\xdf\xa3|0&\xb2u\x8ef\xcf",
    re.DOTALL,
)
# Bytes at the start of a file that are enough to recognize its format.
HEAD_BYTES = 4096
_MPEG_VERSION_1 = 3
# Sample rates of MPEG audio version 1. Source of both tables: ISO 11172-3, 2.4.2.3.
_RATES_HZ = (44_100, 48_000, 32_000)
# (version, layer field) -> bit rates in kbit/s. The layer field is 2 for layer II and 1 for layer III.
_KBITS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def is_audio_extension(extension: str) -> bool:
    """Return whether the last part of an extension is an audio format's, such as "wav" of "left.wav"."""
    return extension.rpartition(".")[2] in AUDIO_EXTENSIONS


def has_signature(head: bytes) -> bool:
    """Return whether the bytes begin with the signature of an audio container."""
    return _SIGNATURES.match(head) is not None


def looks_like_audio(head: bytes) -> bool:
    """Return whether a file's first 4096 bytes are audio: a signature, or two frames of MPEG audio or AAC."""
    first = _frame_bytes(head)
    return has_signature(head) or (first > 0 and _frame_bytes(head[first:]) > 0)


def _frame_bytes(data: bytes) -> int:
    """Return the length of the MPEG audio (layers II, III) or ADTS AAC frame at the start; 0 if none."""
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

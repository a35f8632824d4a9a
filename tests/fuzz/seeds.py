"""The inputs with which fuzzing begins: small intact files for each target, and damaged ones."""

import dataclasses
import io
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import making
import numpy as np
import soundfile
from media import verbatim_flac
from sounds import noise

from transforms.audio.parsers.mpeg_header import frame_lengths, parse_header
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment

# The developers' folder, which may contain released files; see tests/conftest.py.
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
_HEAD_BYTES = 4096

_CSV = """# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/b,/m/a"
a, 0, 1.5, /t/c\r
Y b, 1e1, 11, ""
"""
_LABELS = 'index,mid,display_name\n0,/m/a,"Male speech, man speaking"\n\n1,/m/b,Speech\r\n'
_CLIPS = [dataclasses.replace(clip, audio=b"audio") for clip in making.CLIPS[:2]]
# (format, subtype, channels) for libsndfile.
_SOUNDS = [
    ("WAV", "PCM_16", 1),
    ("WAV", "PCM_U8", 2),
    ("WAV", "PCM_24", 1),
    ("WAV", "DOUBLE", 1),
    ("WAV", "ULAW", 1),
    ("WAV", "IMA_ADPCM", 2),
    ("WAV", "MS_ADPCM", 2),
    ("WAV", "GSM610", 1),
    ("WAV", "G721_32", 1),
    ("WAV", "NMS_ADPCM_16", 1),
    ("WAVEX", "FLOAT", 6),
    ("RF64", "PCM_16", 1),
    ("W64", "PCM_16", 1),
    ("AIFF", "PCM_16", 1),
    ("AU", "PCM_16", 1),
    ("CAF", "ALAC_16", 1),
    ("FLAC", "PCM_16", 1),
    ("OGG", "VORBIS", 1),
    ("MP3", "MPEG_LAYER_III", 1),
]
# (format, codec, sample format, rate) for ffmpeg.
_CONTAINERS = [
    ("mp4", "aac", "fltp", 16_000),
    ("adts", "aac", "fltp", 16_000),
    ("webm", "libopus", "flt", 48_000),
    ("matroska", "aac", "fltp", 16_000),
    ("asf", "wmav2", "fltp", 16_000),
    ("mpegts", "mp2", "s16", 16_000),
    ("mpegts", "ac3", "fltp", 32_000),
    ("flv", "aac", "fltp", 16_000),
    ("flv", "libmp3lame", "s16p", 22_050),
    ("avi", "pcm_s16le", "s16", 16_000),
    ("avi", "libmp3lame", "s16p", 16_000),
    ("wv", "wavpack", "s16p", 16_000),
    ("amr", "libopencore_amrnb", "s16", 8_000),
    ("ogg", "flac", "s16", 16_000),
    ("mov", "alac", "s16p", 16_000),
    ("wav", "ac3", "fltp", 32_000),
]


def seeds(target: str) -> list[bytes]:
    """Return the seeds of a target, each of at most 20 kB."""
    return list(_SEEDS[target]())


def mutations(files: list[bytes], count: int) -> Iterator[bytes]:
    """Yield the seeds with flips, cuts, repetitions and splices, always the same."""
    rng = random.Random(0)
    for number in range(count):
        data = bytearray(files[number % len(files)])
        place, other = rng.randrange(len(data)), rng.choice(files)
        match rng.randrange(4):
            case 0:
                for _ in range(rng.randrange(1, 20)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                del data[place:]
            case 2:
                data[place:place] = data[place : place + rng.randrange(1, 600)] * rng.randrange(1, 4)
            case _:
                start = rng.randrange(len(other))
                data[place : place + rng.randrange(600)] = other[start : start + rng.randrange(600)]
        yield bytes(data)


def _segments() -> Iterator[bytes]:
    yield _CSV.encode()
    yield _CSV.encode("utf-8-sig")
    for path in sorted(SHARED.glob("audioset/*_segments.csv")):
        yield path.read_bytes()[:_HEAD_BYTES]


def _labels() -> Iterator[bytes]:
    yield _LABELS.encode()
    for path in sorted(SHARED.glob("audioset/class_labels*.csv")):
        yield path.read_bytes()[:_HEAD_BYTES]


def _tfrecords() -> Iterator[bytes]:
    # Also records without frames: the target frames them, since mutations do not produce valid checksums.
    clip = {**making.fields(_CLIPS[0]), "audio": b"audio"}
    records = [
        making.example(clip),
        making.example(clip | {"start_time_seconds": 30, "labels": ["/m/a", "Speech"], "split": None}),
    ]
    yield from [*records, making.tfrecord(records), making.tfrecord(records, "GZIP")]


def _tars() -> Iterator[bytes]:
    members = [member for clip in _CLIPS for member in making.sample(clip)]
    members.append(("../" * 40 + "a/\xe9.wav", b"audio"))
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        shard = making.tar(members, format=form)
        blocks = -(-len(shard.rstrip(b"\0")) // 512) + 2
        shard = shard[: 512 * blocks]  # otherwise it is padded to 10 kB
        yield from [shard, *(pack(shard) for name, pack in making.PACKED.items() if name != "tar")]
    yield _linked_tar()


def _linked_tar() -> bytes:
    """Return a tar with links of both kinds, in all directions, and with audio without an extension."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        links = [
            ("b.wav", "a.wav", tarfile.SYMTYPE),
            ("a.data", "", tarfile.REGTYPE),
            ("c.wav", "a.data", tarfile.LNKTYPE),
            ("d/c.wav", "../c.wav", tarfile.SYMTYPE),
            ("e.wav", "/etc/passwd", tarfile.SYMTYPE),
            ("f.json", "a.json", tarfile.LNKTYPE),
            ("g.wav", "g.wav", tarfile.SYMTYPE),
            ("h" * 101 + ".wav", "a.data", tarfile.LNKTYPE),
        ]
        for name, target, kind in links:
            header = tarfile.TarInfo(name)
            header.type, header.linkname, header.size = kind, target, 0 if target else 8
            archive.addfile(header, io.BytesIO(b"fLaC1234"))
    return file.getvalue()[: 512 * 15]


def _parquets() -> Iterator[bytes]:
    rows = [{**making.fields(clip), "audio": clip.audio} for clip in _CLIPS]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    hugging = columns | {"audio": [{"bytes": clip.audio, "path": "a.wav"} for clip in _CLIPS]}
    yield making.parquet(columns, row_group_size=1, compression="none", use_dictionary=False)
    yield making.parquet(hugging, compression="zstd")
    yield making.parquet(columns, compression="gzip", write_page_checksum=True, data_page_version="2.0")


def _sounds() -> Iterator[bytes]:
    for form, subtype, channels in _SOUNDS:
        rate_hz = 8_000 if subtype in ("GSM610", "G721_32", "NMS_ADPCM_16") else 16_000
        file = io.BytesIO()
        soundfile.write(file, noise(0.05, rate_hz, channels), rate_hz, format=form, subtype=subtype)
        yield file.getvalue()


def _mpegs() -> Iterator[bytes]:
    file = io.BytesIO()
    soundfile.write(file, noise(0.3, 16_000, 1), 16_000, format="MP3")
    whole = file.getvalue()
    kind = parse_header(whole)
    assert kind is not None
    bare = whole[frame_lengths(kind)[whole[2]] :]  # without the encoder's header
    tag = b"TAG" + bytes(125)
    yield from [whole, bare, whole + tag + whole, b"ID3\4\0\0\0\0\0\5" + bytes(5) + bare + tag]
    # Layer I, 32 kbit/s at 32 kHz; and the same in free format.
    yield (b"\xff\xff\x18\xc4" + bytes(44)) * 20
    yield (b"\xff\xff\x08\xc4" + bytes(44)) * 20


def _oggs() -> Iterator[bytes]:
    files = []
    for codec, rate_hz in (("VORBIS", 16_000), ("OPUS", 48_000), ("OPUS", 8_000)):
        file = io.BytesIO()
        soundfile.write(file, noise(0.3, rate_hz, 1), rate_hz, format="OGG", subtype=codec)
        files.append(file.getvalue())
    yield from files
    yield files[1] + files[1]


def _containers() -> Iterator[bytes]:
    for form, codec, sample_format, rate_hz in _CONTAINERS:
        file = io.BytesIO()
        with av.open(file, "w", format=form) as output:
            stream = output.add_stream(codec, rate=rate_hz, layout="mono")
            stream.codec_context.format, stream.bit_rate = sample_format, 32_000
            stream.codec_context.open()
            samples = noise(4_096 / rate_hz, rate_hz).T
            if sample_format.startswith("s16"):
                samples = (samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
            else:
                samples = samples.astype(np.float32)
            step = stream.codec_context.frame_size or 1_024
            for start in range(0, max(samples.shape[1] - step, 0) + 1, step):
                part = np.ascontiguousarray(samples[:, start : start + step])
                frame = av.AudioFrame.from_ndarray(part, sample_format, "mono")
                frame.sample_rate, frame.pts = rate_hz, start
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        yield file.getvalue()
        if form == "adts":
            yield b"ID3\x04\0\0\0\0\0\x08" + bytes(8) + file.getvalue() + b"TAG" + bytes(125)
        if form == "mp4":
            yield file.getvalue().replace(b"ftyp", b"free", 1)
    yield verbatim_flac(np.arange(-400, 400)[:, None], 16_000, 20)


def _examples() -> Iterator[bytes]:
    segment = Segment("eval", "--PJHxphWEs", 30.0, 40.0, (0, 526))
    codes = np.random.default_rng(0).integers(0, 256, (3, 128), np.uint8)
    yield encode_example(segment, codes)
    yield encode_example(segment, codes.astype(np.float32))
    yield encode_example(dataclasses.replace(segment, labels=()), codes[:0])
    for path in sorted(SHARED.glob("audioset_release/*/*.tfrecord"))[:5]:
        data = path.read_bytes()
        yield data[12 : 12 + int.from_bytes(data[:8], "little")]


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "segments": _segments,
    "labels": _labels,
    "tar": _tars,
    "tfrecord": _tfrecords,
    "parquet": _parquets,
    "audio": _sounds,
    "mpeg": _mpegs,
    "ogg": _oggs,
    "container": _containers,
    "example": _examples,
}

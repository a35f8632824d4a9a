"""The same clips in every form give the same bytes, and hostile files cost only themselves."""

import itertools
import json
import time

import apache_beam as beam
import av
import numpy as np
import pytest
import soundfile
from apache_beam.testing.util import assert_that, equal_to
from commands import run_command
from sounds import noise, write_noise
from test_main_job import TRIAL, run_pipeline, shards

from pipeline.make_shards import run as make_shards
from transforms.clip_chunks import chunk_clip, clip_spans
from transforms.clips import Clip
from transforms.errors import ClipError
from transforms.extract_examples import ExtractExamples
from transforms.storage.files import open_file

pytestmark = pytest.mark.integration

NUM_MUTATIONS = 2_000
MAX_FILE_S = 30.0


@pytest.fixture(scope="module")
def corpus(shared_audio, tmp_path_factory):
    """Creates twelve clips, each with its own prefix, and adds the five recordings if they are available."""
    folder = tmp_path_factory.mktemp("corpus")
    formats = itertools.cycle([("wav", 44_100), ("flac", 48_000), ("ogg", 22_050), ("mp3", 16_000)])
    for n, (suffix, rate_hz) in zip(range(12), formats, strict=False):
        write_noise(folder / f"{chr(97 + n)}{n}.{suffix}", 1.0 + 0.3 * n, rate_hz, seed=n)
    for path in shared_audio:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def shared_audio(request):
    folder = request.config.rootpath.parent / "shared" / "data" / "audio"
    return sorted(folder.glob("*.wav"))


@pytest.fixture(scope="module")
def expected(corpus, tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("files") / "out"
    result = run_pipeline(f"--input={corpus}/*", f"--output={output}", *TRIAL)
    assert result.returncode == 0, result.stderr
    return shards(output)


@pytest.mark.parametrize("kind", ["tfrecord", "tar", "parquet"])
def test_every_form_gives_the_same_bytes_but_for_what_is_damaged(corpus, expected, kind, tmp_path):
    packed = tmp_path / "packed"
    flags = [f"--input={corpus}/*", f"--output={packed}", f"--format={kind}", "--shard_bytes=300KB"]
    assert make_shards([*flags, "--runner=FnApiRunner"]) == 0
    paths = sorted(packed.glob(f"*.{kind}"))
    assert len(paths) > 2
    whole = run_pipeline(f"--input={packed}/*.{kind}", f"--output={tmp_path}/whole", *TRIAL)
    assert whole.returncode == 0, whole.stderr
    assert shards(tmp_path / "whole") == expected

    data = bytearray(paths[1].read_bytes())
    paths[1].write_bytes(data[: len(data) // 2])
    result = run_pipeline(f"--input={packed}/*.{kind}", f"--output={tmp_path}/damaged", *TRIAL)
    assert result.returncode == 0, result.stderr
    found = shards(tmp_path / "damaged")
    assert found and len(found) < len(expected)
    assert all(expected[name] == content for name, content in found.items())
    account = json.loads((tmp_path / "damaged" / "_run" / "manifest.json").read_text())["account"]
    assert account["balanced"] and account["rejected_by_reason"]["train"]["truncated_shard"] == 1
    verified = run_command("-m", "pipeline.verify", str(tmp_path / "damaged"), "--strict")
    assert verified.returncode == 0, verified.stdout


def test_segment_seconds_gives_the_clips_that_files_of_their_own_would(tmp_path):
    samples = noise(10.0, 44_100)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "x.wav", samples, 44_100)
    flags = [f"--input={tmp_path}/audio/*", "--segment_seconds=3", *TRIAL]
    result = run_pipeline(*flags, f"--output={tmp_path}/out", "--sharding=hash:4")
    assert result.returncode == 0, result.stderr
    assert "clips expected 4 = written 4 + rejected 0" in result.stdout
    verified = run_command("-m", "pipeline.verify", str(tmp_path / "out"), "--strict")
    assert verified.returncode == 0, verified.stdout


def seeds(folder) -> list[bytes]:
    """Creates one file of each format, of about one second."""
    paths = [
        write_noise(folder / "a.wav", 1.2, 44_100),
        write_noise(folder / "b.wav", 1.2, 16_000, subtype="FLOAT"),
        write_noise(folder / "c.wav", 1.2, 8_000, subtype="ULAW"),
        write_noise(folder / "d.flac", 1.2, 44_100),
        write_noise(folder / "e.ogg", 1.2, 22_050),
        write_noise(folder / "f.opus", 1.2, 48_000, format="OGG", subtype="OPUS"),
        write_noise(folder / "g.mp3", 1.2, 44_100),
        write_noise(folder / "h.aiff", 1.2, 32_000),
        write_noise(folder / "i.au", 1.2, 16_000),
        write_noise(folder / "j.caf", 1.2, 16_000),
    ]
    files = [path.read_bytes() for path in paths]
    for number, (suffix, codec) in enumerate([("m4a", "aac"), ("webm", "libopus"), ("wma", "wmav2")]):
        path = folder / f"k{number}.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=48_000, layout="mono")
            stream.bit_rate = 96_000
            tone = np.sin(np.arange(57_600) / 20).astype(np.float32)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = 48_000
            resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48_000)
            fifo = av.AudioFifo()
            for part in resampler.resample(frame):
                fifo.write(part)
            size = stream.codec_context.frame_size or 960
            while fifo.samples:
                container.mux(stream.encode(fifo.read(min(size, fifo.samples))))
            container.mux(stream.encode(None))
        files.append(path.read_bytes())
    return files


def mutated(files: list[bytes], number: int) -> bytes:
    """Damages one of the files by flipped bytes, a cut or a splice; the number determines which."""
    rng = np.random.default_rng(number)
    data = bytearray(files[number % len(files)])
    match number // len(files) % 3:
        case 0:
            for place in rng.integers(0, len(data), rng.integers(1, 30)):
                data[place] = rng.integers(256)
            # Damage has the largest effect in headers.
            data[rng.integers(0, min(100, len(data)))] ^= 1 << rng.integers(8)
        case 1:
            del data[rng.integers(0, len(data)) :]
        case _:
            other = files[rng.integers(len(files))]
            begin, end = sorted(rng.integers(0, len(other), 2))
            place = rng.integers(0, len(data))
            data[place : place + rng.integers(0, 2_000)] = other[begin:end]
    return bytes(data)


def test_two_thousand_damaged_files_cost_only_themselves(tmp_path):
    files = seeds(tmp_path / "seeds")
    folder = tmp_path / "damaged"
    folder.mkdir()
    clips = []
    for number in range(NUM_MUTATIONS):
        path = folder / f"{number:05d}"
        path.write_bytes(mutated(files, number))
        clips.append(Clip("train", path.name, str(path)))

    slowest_s, embedded = 0.0, 0
    for clip in clips:
        started = time.monotonic()
        try:
            with open_file(clip.file) as file:
                for part, span in clip_spans(file, clip, None):
                    for _, examples in chunk_clip(part, span):
                        assert np.isfinite(examples).all()
            embedded += 1
        except ClipError:
            pass
        slowest_s = max(slowest_s, time.monotonic() - started)
    assert slowest_s < MAX_FILE_S
    assert 0 < embedded < NUM_MUTATIONS

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        extracted = pipeline | beam.Create(clips) | ExtractExamples()
        last = extracted.examples | beam.Filter(lambda element: element[0].segment is not None)
        whole = last | beam.MapTuple(lambda chunk, _: chunk.video_id)
        rejected = extracted.rejected | beam.Map(lambda r: r.video_id)
        outcomes = (whole, rejected) | beam.Flatten()
        assert_that(outcomes, equal_to([clip.video_id for clip in clips]))

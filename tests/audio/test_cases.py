"""Decode files from public bug reports, in ../shared/cases/audio, to the right number of frames."""

import json

import numpy as np
import pytest
from sounds import read_mono

from transforms.audio.decode import open_audio
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.errors import ClipError

# Samples per channel, if they are known independently of the frames.
SAMPLES = {
    "chapters.m4a": 221_184,
    "attach.mka": 222_208,
    "video_first.wmv": 219_136,  # 4.969 s
    "tfdt_plus_3600s.mp4": 883_712,
    "silence-2.wma": 162_496,
}


@pytest.fixture(scope="module")
def cases(shared):
    folder = shared / "cases" / "audio"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases/audio")
    return folder


def decoded(path) -> tuple[np.ndarray, int]:
    with path.open("rb") as file, open_audio(file) as stream:
        return read_mono(stream), stream.rate_hz


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_decodes_completely(cases, name):
    assert len(decoded(cases / name)[0]) == SAMPLES[name]


def test_every_file_gives_its_frames_or_is_rejected(cases):
    expected = json.loads((cases / "expected.json").read_text())
    assert len(expected) == 10
    for name, right in expected.items():
        try:
            waveform, rate_hz = decoded(cases / name)
            outcome = sum(map(len, waveform_examples([waveform], rate_hz)))
        except ClipError:
            outcome = "reject"
        assert outcome in (right if isinstance(right, list) else [right]), name

"""The sound of an example clip is in the page itself, small, and the same sound."""

import base64
import io

import numpy as np
import soundfile

from pipeline.report.player import audio_url
from transforms.audio.sine import sine


def test_the_url_contains_the_sound():
    waveform = 0.5 * sine(10.0).astype(np.float32)
    kind, data = audio_url(waveform).split(",")
    assert kind == "data:audio/mpeg;base64" and len(data) < 80_000
    decoded, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert rate_hz == 16_000 and abs(len(decoded) - len(waveform)) < 0.1 * rate_hz
    spectrum = np.abs(np.fft.rfft(decoded[:rate_hz]))
    assert abs(spectrum.argmax() - 1_000) <= 1 and 0.45 < np.abs(decoded).max() < 0.55


def test_samples_beyond_full_scale_are_clipped():
    data = base64.b64decode(audio_url(4.0 * sine(1.0).astype(np.float32)).split(",")[1])
    assert np.abs(soundfile.read(io.BytesIO(data))[0]).max() < 1.5

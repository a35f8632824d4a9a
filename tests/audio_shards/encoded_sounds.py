"""Encoded audio of several formats, for tests that recognize it."""

import io

import av
import soundfile
from sounds import noise


def sounds() -> dict[str, bytes]:
    """Return extension -> a file, written by libsndfile, or by ffmpeg for MPEG audio."""
    found = {}
    for form in ("WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "RF64", "MP3"):
        file = io.BytesIO()
        soundfile.write(file, noise(0.3), 16_000, format=form)
        found[form.lower()] = file.getvalue()
    for form, codec, kind in [
        ("mp2", "mp2", "s16"),
        ("adts", "aac", "fltp"),
        ("mov", "aac", "fltp"),
    ]:
        file = io.BytesIO()
        with av.open(file, "w", format=form) as output:
            stream = output.add_stream(codec, rate=16_000, layout="mono")
            samples = noise(0.6)[:8064].T * (2**15 if kind == "s16" else 1)
            samples = samples.astype("int16" if kind == "s16" else "float32")
            frame = av.AudioFrame.from_ndarray(samples, kind, "mono")
            frame.sample_rate = 16_000
            output.mux([*stream.encode(frame), *stream.encode(None)])
        found[form] = file.getvalue()
    return found


SOUNDS = sounds()

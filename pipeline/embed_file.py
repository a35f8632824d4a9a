"""python -m pipeline.embed_file FILE [OUT]: embeds one audio file without a pipeline, and prints its frames.

    python -m pipeline.embed_file clip.wav clip.tfrecord
    python -m pipeline.embed_file clip.mp3 clip.npy --postprocess=raw
    python -m pipeline.embed_file                            # a tone

OUT gets the frames too: `.tfrecord` as one record like those of the AudioSet release, `.npy` as an array,
uint8[n, 128] quantized or float32[n, 128] raw.
"""

import io
import sys
from collections.abc import Sequence

import numpy as np

from pipeline.cli.commands import EMBED
from pipeline.embed import embed, read_waveform
from pipeline.process.main import run_main
from transforms.audio.sine import sine
from transforms.audioset.example import encode_example
from transforms.audioset.names import stem
from transforms.audioset.segments import Segment
from transforms.printable import say
from transforms.storage.files import write_output
from transforms.storage.tfrecord import frame_records
from transforms.vggish.params import SAMPLE_RATE_HZ


def run(argv: Sequence[str]) -> int:
    """Embeds the file, prints and writes its frames, and returns the exit status.

    Raises:
      SettingError: a mistake in the command, or the file cannot be read or decoded.
      OutputError: the output cannot be written.
    """
    options, _ = EMBED.parse(argv)
    if options.audio:
        waveform, rate_hz = read_waveform(options.audio)
    else:
        waveform, rate_hz = sine(duration_s=5.0, frequency_hz=440.0), SAMPLE_RATE_HZ
    names = ("postprocess", "weights", "pca_params", "assets_dir", "pad_short")
    given = {name: getattr(options, name) for name in names}
    frames = embed(waveform, rate_hz, **given)
    say(f"{frames.dtype}{list(frames.shape)}, one row per 0.96 s")
    with np.printoptions(threshold=0):
        say(*str(frames).split("\n"))

    if options.output is None:
        return 0
    if options.output.endswith(".npy"):
        buffer = io.BytesIO()
        np.save(buffer, frames)
        data = buffer.getvalue()
    else:
        video_id = stem(options.audio) if options.audio else "tone"
        segment = Segment("", video_id, 0.0, len(waveform) / rate_hz)
        data = frame_records([encode_example(segment, frames)])
    write_output(options.output, data)
    say(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main("pipeline.embed_file", lambda: run(sys.argv[1:])))

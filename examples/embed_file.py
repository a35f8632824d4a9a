"""Embeds one audio file without a pipeline, into a TFRecord or an array.

    python examples/embed_file.py clip.wav clip.tfrecord
    python examples/embed_file.py clip.mp3 clip.npy --postprocess=raw
    python examples/embed_file.py                            # a tone, printed

Prints the frames. With an output file it also writes them: `.tfrecord` as one record like those of the
AudioSet release, `.npy` as an array, uint8[n, 128] quantized or float32[n, 128] raw.
"""

import pipeline  # noqa: F401, first, so that Ctrl-C ends the other imports with one line too

# isort: split

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.cli.option_groups import POSTPROCESS, add_asset_options, add_options
from pipeline.cli.parser import OneLineParser
from pipeline.embed import embed, read_waveform
from pipeline.process.main import run_main
from pipeline.smoke_test import sine
from transforms.audioset.example import encode_example
from transforms.audioset.names import stem
from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.printable import say
from transforms.storage.tfrecord import frame_records
from transforms.vggish.params import SAMPLE_RATE_HZ

SUFFIXES = (".tfrecord", ".npy")


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("audio", nargs="?", help="the audio file (default: a tone)")
    parser.add_argument("output", nargs="?", help="OUT.tfrecord or OUT.npy (default: none)")
    add_asset_options(parser)
    add_options(parser, POSTPROCESS)
    options = parser.parse_intermixed_args(argv)
    if options.output and not options.output.endswith(SUFFIXES):
        raise SettingError(f"output {options.output}: must end with {' or '.join(SUFFIXES)}")

    if options.audio:
        waveform, rate_hz = read_waveform(options.audio)
    else:
        waveform, rate_hz = sine(duration_s=5.0, frequency_hz=440.0), SAMPLE_RATE_HZ
    given = {name: getattr(options, name) for name in ("postprocess", "weights", "pca_params", "assets_dir")}
    frames = embed(waveform, rate_hz, **given)
    say(f"{frames.dtype}{list(frames.shape)}, one row per 0.96 s")
    with np.printoptions(threshold=0):
        say(*str(frames).split("\n"))

    if options.output is None:
        return 0
    if options.output.endswith(".npy"):
        np.save(options.output, frames)
    else:
        video_id = stem(options.audio) if options.audio else "tone"
        segment = Segment("", video_id, 0.0, len(waveform) / rate_hz)
        Path(options.output).write_bytes(frame_records([encode_example(segment, frames)]))
    say(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main("embed_file", lambda: main(sys.argv[1:])))

"""Embeds one audio file without a pipeline, into a TFRecord or an array.

    python examples/embed_file.py clip.wav clip.tfrecord
    python examples/embed_file.py clip.mp3 clip.npy --postprocess=raw
    python examples/embed_file.py                            # a tone, shown on the screen

Prints the frames, and with an output file writes them: `.tfrecord` as one record of the AudioSet
release, `.npy` as an array, uint8[n, 128] quantized or float32[n, 128] raw.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.config import find_pca_params, find_weights
from pipeline.console import run_command
from pipeline.options import OneLineParser, add_asset_options, add_postprocess_option
from pipeline.smoke_test import sine
from transforms.audio.decode import Cutter, mono_blocks, open_audio
from transforms.audio.front_end import waveform_examples
from transforms.audioset.example import encode_example
from transforms.audioset.names import stem
from transforms.audioset.segments import Segment
from transforms.errors import ClipError, SettingError
from transforms.tfrecord import frame_records
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder
from transforms.vggish.params import SAMPLE_RATE_HZ
from transforms.vggish.postprocess import postprocess

SUFFIXES = (".tfrecord", ".npy")


def read_audio(path: str | None) -> tuple[np.ndarray, int]:
    """A file's mono waveform, float64[samples], and its rate in Hz; of None a tone of 5 s.

    Raises:
      SettingError: the file cannot be read or decoded.
    """
    if path is None:
        return sine(duration_s=5.0, frequency_hz=440.0), SAMPLE_RATE_HZ
    try:
        with open(path, "rb") as file, open_audio(file) as stream:
            return np.concatenate([np.empty(0), *Cutter(mono_blocks(stream)).take()]), stream.rate_hz
    except (OSError, ClipError) as error:
        raise SettingError(f"{path}: {error}; give an audio file") from error


def main(argv: Sequence[str]) -> int:
    parser = OneLineParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("audio", nargs="?", help="the file (default: a tone)")
    parser.add_argument("output", nargs="?", help="OUT.tfrecord or OUT.npy (default: none)")
    add_asset_options(parser)
    add_postprocess_option(parser)
    options = parser.parse_args(argv)
    if options.output and not options.output.endswith(SUFFIXES):
        raise SettingError(f"output {options.output}: ends with neither {' nor '.join(SUFFIXES)}")

    waveform, rate_hz = read_audio(options.audio)
    try:
        examples = np.concatenate(list(waveform_examples([waveform], rate_hz)))
    except ClipError as error:
        raise SettingError(f"{options.audio}: {error}; give a longer file") from error
    pca = None
    if options.postprocess == "quantized":
        pca, _ = find_pca_params(options.pca_params, options.assets_dir)
    weights = find_weights(options.weights, options.assets_dir)
    print(f"weights: {weights}")

    embeddings = Embedder(read_weights(weights.path)).embed(examples)
    frames = postprocess(embeddings, pca) if options.postprocess == "quantized" else embeddings
    print(f"{frames.dtype}{list(frames.shape)}, a row each 0.96 s")
    with np.printoptions(threshold=0):
        print(frames)

    if options.output is None:
        return 0
    if options.output.endswith(".npy"):
        np.save(options.output, frames)
    else:
        video_id = stem(options.audio) if options.audio else "tone"
        segment = Segment("", video_id, 0.0, len(waveform) / rate_hz)
        Path(options.output).write_bytes(frame_records([encode_example(segment, frames)]))
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("embed_file", lambda: main(sys.argv[1:])))

"""The two front ends on CPU: python -m benchmarks.fused [--audio=FILE ...] [--weights=] [--pca_params=]

For each rate the CPU path (resampling, log-mel, network, PCA) and the fused graph take a minute of waveform
in turns, on the backend that KERAS_BACKEND chooses; and the bytes of both, and of the files, are compared.
Prints JSON and writes it to results/fused_BACKEND.json.
"""

import argparse

import keras
import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.gpu import agreement, mono, seeded_pca, sound
from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.pcm import device_front_end, pcm_windows
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.fused import FusedEmbedder
from transforms.vggish.model import Embedder
from transforms.vggish.postprocess import postprocess, read_pca_params

# Examples a call of the network; a minute fills 62 rows of two.
BATCH = 32
CLIPS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", nargs="*", default=[], help="files whose bytes are to be compared")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--pca_params", help="as of pipeline.run (default: of a seed)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pca = seeded_pca()
    if options.pca_params:
        with open(options.pca_params, "rb") as file:
            pca = read_pca_params(file, options.pca_params)
    weights = read_weights(options.weights)
    network = Embedder(weights, BATCH)
    graphs = FusedEmbedder(weights, device_front_end, True, pca, BATCH)

    def cut(waveform: NDArray[np.float64], rate_hz: int) -> NDArray[np.float32]:
        return np.concatenate(list(waveform_examples([waveform], rate_hz)))

    def by_cpu(waveform: NDArray[np.float64], rate_hz: int) -> NDArray[np.uint8]:
        return postprocess(network.embed(cut(waveform, rate_hz)), pca)

    def fused(waveform: NDArray[np.float64], rate_hz: int) -> NDArray[np.uint8]:
        windows = pcm_windows([waveform], rate_hz)
        return graphs.embed(windows.samples, windows.rate_hz)[0]

    report = machine.describe("keras", keras.backend.backend(), "numpy")
    for name, rate_hz, channels in (("16_khz_mono", 16_000, 1), ("44.1_khz_stereo", 44_100, 2)):
        clip = (mono(np.concatenate([sound(n, rate_hz, channels) for n in range(CLIPS)])), rate_hz)
        examples = cut(*clip)
        times_s = machine.in_turns(
            {
                "cpu": lambda clip=clip: by_cpu(*clip),
                "fused": lambda clip=clip: fused(*clip),
                "network": lambda examples=examples: network.embed(examples),
                "cpu_front_end": lambda clip=clip: cut(*clip),
                "windows": lambda clip=clip: pcm_windows([clip[0]], clip[1]),
            },
            options.rounds,
        )
        report[name] = {
            "examples": len(examples),
            **{f"{key}_ms_an_example": round(1e3 * t / len(examples), 3) for key, t in times_s.items()},
            "fused_over_cpu": round(times_s["fused"] / times_s["cpu"], 3),
            "agreement": agreement([fused(*clip)], [by_cpu(*clip)]),
        }
    if options.audio:
        files = [soundfile.read(path, always_2d=True) for path in options.audio]
        clips = [(samples.mean(axis=1), rate_hz) for samples, rate_hz in files]
        report["files"] = agreement([fused(*clip) for clip in clips], [by_cpu(*clip) for clip in clips])
    machine.write(f"fused_{keras.backend.backend()}", report)


if __name__ == "__main__":
    main()

"""AudioSet and a hundred million clips on paper: python benchmarks/corpora.py

Prints the tables of docs/scale.md from the rates measured in results/: codecs.json, scale.json, model.json,
gpu.json. Peaks and prices are others', with their sources in docs/scale.md. One card was measured. Each
other card is taken to reach the same share of its own peak.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.coders import FastPrimitivesCoder

from transforms.account import expected, written
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.vggish.checkpoint import KERNEL_SHAPES
from transforms.vggish.params import EMBEDDING_SIZE, EXAMPLE_FRAMES, MEL_BANDS
from transforms.vggish.precision import BFLOAT16, FLOAT32
from transforms.write_features import pack_frames

RESULTS = Path(__file__).parent / "results"
CORPORA = {"AudioSet": 2_080_000, "100 M clips": 100_000_000}
EXAMPLES_PER_CLIP = 10
# The codec of the table of hours: in the middle of the others.
CODEC = "mp3"
# Convolutions after which a 2x2 pooling halves height and width.
_POOLED = ("conv1", "conv2", "conv3_2", "conv4_2")


@dataclass(frozen=True)
class Machine:
    """A machine to rent.

    Attributes:
      name: its type.
      num_cores: vCPUs; a measured core is taken for one.
      price_usd: of an hour, on demand.
      card: its GPU, if any.
      peak_tflops: the card's dense peaks by precision; a T4 has no bfloat16, and float16 stands for it.
    """

    name: str
    num_cores: int
    price_usd: float
    card: str | None = None
    peak_tflops: Mapping[str, float] = field(default_factory=dict)

    def card_s(self, precision: str) -> float:
        """Seconds that the card, if there is one, takes for a clip."""
        if self.card is None:
            return 0.0
        reached = share_of_peak(precision) * 1e12 * self.peak_tflops[precision]
        return EXAMPLES_PER_CLIP * example_flop() / reached


MACHINES = (
    Machine("c4-highcpu-8", 8, 0.340),
    Machine("g4dn.xlarge", 4, 0.53, "T4", {FLOAT32: 8.1, BFLOAT16: 65.1}),
    Machine("g2-standard-16", 16, 1.147, "L4", {FLOAT32: 30.3, BFLOAT16: 121.0}),
    Machine("a2-highgpu-1g", 12, 3.673, "A100", {FLOAT32: 19.5, BFLOAT16: 312.0}),
    Machine("a3-highgpu-1g", 26, 10.979, "H100", {FLOAT32: 66.9, BFLOAT16: 989.4}),
)
CARDS = [machine for machine in MACHINES if machine.card]


def example_flop() -> int:
    """Floating-point operations of the network for one example: two for each multiply-and-add."""
    height, width, flop = EXAMPLE_FRAMES, MEL_BANDS, 0
    for scope, shape in KERNEL_SHAPES.items():
        positions = height * width if len(shape) == 4 else 1
        flop += 2 * positions * math.prod(shape)
        if scope.endswith(_POOLED):
            height, width = height // 2, width // 2
    return flop


def share_of_peak(precision: str) -> float:
    """The share of its dense peak that the measured card reaches on the network, at its best batch size."""
    runs = read("gpu")["runs"]
    return max(run["network_share_of_peak"] for run in runs if run["precision"] == precision)


def shuffled_bytes() -> dict[str, int]:
    """Step -> encoded bytes that cross its shuffle for a clip of ten seconds, a file of its own."""
    segment = Segment("unbal_train", "--0PQM4-hqg", 30.0, 40.0, (0, 137))
    path = f"gs://bucket/audio/{segment.video_id}_30.000.flac"
    piece = ClipChunk(path, None, segment.split, segment.video_id, segment.start_s, 0, segment)
    frames = np.zeros((EXAMPLES_PER_CLIP, EMBEDDING_SIZE), np.uint8)
    crossing = {
        "paths": [(path, None)],
        "features": [((segment.split, segment.video_id[:2]), pack_frames(piece, frames))],
        "account": [(key, 1) for key, _ in (expected(segment.key), written(segment.key))],
    }
    coder = FastPrimitivesCoder()
    return {step: sum(len(coder.encode(e)) for e in elements) for step, elements in crossing.items()}


def read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def main() -> None:
    pipeline_s = read("scale")["files"]["100000"]["cpu_ms_a_clip"] / 1e3
    codecs = read("codecs")["codecs"]
    # Processor seconds of a clip before the network, with either front end.
    front_s = {codec: row["extract_cpu_ms"] / 1e3 + pipeline_s for codec, row in codecs.items()}
    cut_s = {codec: row["windows_cpu_ms"] / 1e3 + pipeline_s for codec, row in codecs.items()}
    variants = read("model")["variants"]
    model_s = {
        precision: EXAMPLES_PER_CLIP * variants[f"{precision} batch 32"]["cpu_ms_per_example"] / 1e3
        for precision in (FLOAT32, BFLOAT16)
    }
    models = ", ".join(f"model in {name} {1e3 * seconds:.0f}" for name, seconds in model_s.items())
    print(f"GFLOP per example: {example_flop() / 1e9:.3f}")
    print(f"ms of a core per clip: pipeline {1e3 * pipeline_s:.1f}, {models}\n")
    print(
        table(
            ["shuffle", "bytes per clip", *(f"{name}, GB" for name in CORPORA)],
            (
                [step, size, *(f"{size * clips / 1e9:,.1f}" for clips in CORPORA.values())]
                for step, size in shuffled_bytes().items()
            ),
        )
    )
    print()
    print(
        table(
            ["GPU", "float32, TFLOPS", "16 bits, TFLOPS", "float32, clips/s", "16 bits, clips/s"],
            (
                [m.card, *m.peak_tflops.values(), *(f"{1 / m.card_s(p):,.0f}" for p in m.peak_tflops)]
                for m in CARDS
            ),
        )
    )
    print()
    print(
        table(
            ["codec", "front end", "ms per clip", *(f"{m.card}: float32, 16 bits" for m in CARDS)],
            (
                [codec, name, f"{1e3 * seconds[codec]:.1f}"]
                + [", ".join(f"{seconds[codec] / m.card_s(p):,.0f}" for p in m.peak_tflops) for m in CARDS]
                for codec in codecs
                for name, seconds in (("cpu", front_s), ("accelerator", cut_s))
            ),
        )
    )
    print()
    rows = []
    for machine in MACHINES:
        for precision in (FLOAT32, BFLOAT16):
            card_s = machine.card_s(precision)
            cpu_s = cut_s[CODEC] if machine.card else front_s[CODEC] + model_s[precision]
            clip_s = max(card_s, cpu_s / machine.num_cores)
            bits = "float32" if precision == FLOAT32 else "16 bits"
            row = [machine.card or "none", f"{machine.name}, {machine.num_cores}", bits, f"{1 / clip_s:,.0f}"]
            for clips in CORPORA.values():
                hours = clips * clip_s / 3600
                row += [f"{hours:,.1f}", f"{hours * machine.price_usd:,.0f}"]
            rows.append([*row, f"{100 * card_s / clip_s:.0f} %" if machine.card else "-"])
    columns = [f"{name}: {unit}" for name in CORPORA for unit in ("hours", "USD")]
    print(table(["GPU", "machine, vCPUs", "precision", "clips/s", *columns, "GPU at work"], rows))


if __name__ == "__main__":
    main()

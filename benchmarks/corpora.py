"""AudioSet and a hundred million clips on paper: python benchmarks/corpora.py

Prints the tables of docs/scale.md from the rates measured in results/: codecs.json, scale.json, model.json.
Peaks and prices are others', with their sources in docs/scale.md. No GPU was measured: what a card does is
its peak times an assumed share of it, until `python benchmarks/gpu.py` measures it.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.coders import FastPrimitivesCoder

from transforms.account import expected, written
from transforms.audioset.segments import Segment
from transforms.clips import Piece
from transforms.vggish.checkpoint import KERNEL_SHAPES
from transforms.vggish.params import EMBEDDING_SIZE, EXAMPLE_FRAMES, MEL_BANDS
from transforms.write_features import pack_frames

RESULTS = Path(__file__).parent / "results"
CORPORA = {"AudioSet": 2_080_000, "100 M clips": 100_000_000}
EXAMPLES_PER_CLIP = 10
# ASSUMED: of its dense peak, what a card reaches on this network.
SHARE_OF_PEAK = 0.3
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
      fp32_tflops, tf32_tflops: the card's dense peaks; None where it has no such unit.
    """

    name: str
    num_cores: int
    price_usd: float
    card: str | None = None
    fp32_tflops: float | None = None
    tf32_tflops: float | None = None

    def examples_per_s(self) -> float:
        """Of the card, at its better peak of the two that TensorFlow uses for float32."""
        return SHARE_OF_PEAK * 1e12 * (self.tf32_tflops or self.fp32_tflops or 0) / example_flop()


MACHINES = (
    Machine("c4-highcpu-8", 8, 0.340),
    Machine("g4dn.xlarge", 4, 0.53, "T4", 8.1),
    Machine("g2-standard-16", 16, 1.147, "L4", 30.3, 60.0),
    Machine("a2-highgpu-1g", 12, 3.673, "A100", 19.5, 156.0),
    Machine("a3-highgpu-1g", 26, 10.979, "H100", 66.9, 494.7),
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


def shuffled_bytes() -> dict[str, int]:
    """Step -> encoded bytes that cross its shuffle for a clip of ten seconds, a file of its own."""
    segment = Segment("unbal_train", "--0PQM4-hqg", 30.0, 40.0, (0, 137))
    path = f"gs://bucket/audio/{segment.video_id}_30.000.flac"
    piece = Piece(path, None, segment.split, segment.video_id, segment.start_s, 0, segment)
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
    front_s = {codec: row["extract_cpu_ms"] / 1e3 for codec, row in read("codecs")["codecs"].items()}
    model_s = EXAMPLES_PER_CLIP * read("model")["variants"]["float32 batch 32"]["cpu_ms_per_example"] / 1e3
    print(f"GFLOP an example: {example_flop() / 1e9:.3f}; of a clip on one core, in ms: pipeline")
    print(f"{1e3 * pipeline_s:.1f}, model {1e3 * model_s:.0f}\n")
    print(
        table(
            ["shuffle", "bytes a clip", *(f"{name}, GB" for name in CORPORA)],
            (
                [step, size, *(f"{size * clips / 1e9:,.1f}" for clips in CORPORA.values())]
                for step, size in shuffled_bytes().items()
            ),
        )
    )
    print()
    print(
        table(
            ["card", "FP32", "TF32", "examples/s", "clips/s"],
            (
                [m.card, m.fp32_tflops, m.tf32_tflops or "none"]
                + [f"{n:,.0f}" for n in (m.examples_per_s(), m.examples_per_s() / EXAMPLES_PER_CLIP)]
                for m in CARDS
            ),
        )
    )
    print()
    print(
        table(
            ["codec", "ms a clip", *(m.card or "" for m in CARDS)],
            (
                [codec, f"{1e3 * (seconds + pipeline_s):.0f}"]
                + [f"{(seconds + pipeline_s) * m.examples_per_s() / EXAMPLES_PER_CLIP:,.0f}" for m in CARDS]
                for codec, seconds in front_s.items()
            ),
        )
    )
    print()
    cpu_s = front_s[CODEC] + pipeline_s
    rows = []
    for machine in MACHINES:
        card_s = EXAMPLES_PER_CLIP / machine.examples_per_s() if machine.card else 0.0
        clip_s = max(card_s, (cpu_s + (0 if machine.card else model_s)) / machine.num_cores)
        row = [machine.card or "none", f"{machine.name}, {machine.num_cores}", f"{1 / clip_s:,.0f}"]
        for clips in CORPORA.values():
            hours = clips * clip_s / 3600
            row += [f"{hours:,.0f}", f"{hours * machine.price_usd:,.0f}"]
        rows.append([*row, f"{CORPORA['AudioSet'] * card_s / 3600:,.1f}" if machine.card else "-"])
    columns = [f"{name}: {unit}" for name in CORPORA for unit in ("hours", "USD")]
    print(table(["card", "machine, vCPUs", "clips/s", *columns, "AudioSet: card's hours"], rows))


if __name__ == "__main__":
    main()

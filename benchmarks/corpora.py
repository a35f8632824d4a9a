"""AudioSet and a corpus of 100 million clips, computed from measured rates: python -m benchmarks.corpora

Prints the tables of docs/scale.md from codecs.json, scale.json, model.json and gpu.json in results/. Peaks of
cards and prices come from other sources, which docs/scale.md names. Only one card was measured. Each other
card is assumed to reach the same share of its own peak.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from apache_beam.coders import FastPrimitivesCoder

from benchmarks.flops import network_flop, peak_tflops
from benchmarks.harness import EXAMPLES_PER_CLIP, read_result
from benchmarks.report import table
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.precision import BFLOAT16, FLOAT32
from transforms.write_features import pack_frames

CORPORA = {"AudioSet": 2_080_000, "100 M clips": 100_000_000}
# The codec of the table of hours, whose cost is in the middle of the others.
CODEC = "mp3"
PRECISIONS = {FLOAT32: "float32", BFLOAT16: "16 bits"}


@dataclass(frozen=True)
class Machine:
    """A machine to rent. Each of its vCPUs counts as one measured core; the price is per hour, on demand."""

    name: str
    num_cores: int
    price_usd: float
    card: str = ""

    def card_s(self, precision: str) -> float:
        """Return the seconds per clip on the card, 0 without one."""
        peak = peak_tflops(self.card, precision)
        return EXAMPLES_PER_CLIP * network_flop() / (share_of_peak(precision) * 1e12 * peak) if peak else 0.0


MACHINES = (
    Machine("c4-highcpu-8", 8, 0.340),
    Machine("g4dn.xlarge", 4, 0.53, "T4"),
    Machine("g2-standard-16", 16, 1.147, "L4"),
    Machine("a2-highgpu-1g", 12, 3.673, "A100"),
    Machine("a3-highgpu-1g", 26, 10.979, "H100"),
)
CARDS = [machine for machine in MACHINES if machine.card]


def share_of_peak(precision: str) -> float:
    """Return the share of its dense peak that the measured card reaches on the network, at the best batch."""
    runs = read_result("gpu")["runs"]
    return max(run["network_share_of_peak"] for run in runs if run["precision"] == precision)


def shuffled_bytes() -> dict[str, int]:
    """Return the encoded bytes that each shuffle moves for a clip of 10 s in its own file."""
    segment = Segment("unbal_train", "--0PQM4-hqg", 30.0, 40.0, (0, 137))
    path = f"gs://bucket/audio/{segment.video_id}_30.000.flac"
    chunk = ClipChunk(path, None, segment.split, segment.video_id, segment.start_s, 0, segment)
    frames = np.zeros((EXAMPLES_PER_CLIP, EMBEDDING_SIZE), np.uint8)
    elements = {
        "paths": [(path, None)],
        "features": [((segment.split, segment.video_id[:2]), pack_frames(chunk, frames))],
        "account": [(segment.key, 1)] * 2,
    }
    coder = FastPrimitivesCoder()
    return {shuffle: sum(len(coder.encode(e)) for e in moved) for shuffle, moved in elements.items()}


def main() -> None:
    pipeline_s = read_result("scale")["files"]["100000"]["cpu_ms_a_clip"] / 1e3
    codecs = read_result("codecs")["codecs"]
    # CPU time per clip before the network, by the place of the front end.
    front_end_s = {
        place: {codec: row[key] / 1e3 + pipeline_s for codec, row in codecs.items()}
        for place, key in (("cpu", "extract_cpu_ms"), ("accelerator", "windows_cpu_ms"))
    }
    variants = read_result("model")["variants"]
    model_s = {
        precision: EXAMPLES_PER_CLIP * variants[f"{precision} batch 32"]["cpu_ms_per_example"] / 1e3
        for precision in PRECISIONS
    }
    models = ", ".join(f"model in {name} {1e3 * seconds:.0f}" for name, seconds in model_s.items())
    print(f"GFLOP per example: {network_flop() / 1e9:.3f}")
    print(f"ms of a core per clip: pipeline {1e3 * pipeline_s:.1f}, {models}")
    shuffles = (
        [shuffle, size, *(f"{size * clips / 1e9:,.1f}" for clips in CORPORA.values())]
        for shuffle, size in shuffled_bytes().items()
    )
    _print_table(["shuffle", "bytes per clip", *(f"{name}, GB" for name in CORPORA)], shuffles)
    columns = [f"{bits}, {unit}" for unit in ("TFLOPS", "clips/s") for bits in PRECISIONS.values()]
    cards = (
        [
            m.card,
            *(peak_tflops(m.card, p) for p in PRECISIONS),
            *(f"{1 / m.card_s(p):,.0f}" for p in PRECISIONS),
        ]
        for m in CARDS
    )
    _print_table(["GPU", *columns], cards)
    columns = [f"{m.card}: {', '.join(PRECISIONS.values())}" for m in CARDS]
    cores = (
        [codec, place, f"{1e3 * seconds[codec]:.1f}"]
        + [", ".join(f"{seconds[codec] / m.card_s(p):,.0f}" for p in PRECISIONS) for m in CARDS]
        for codec in codecs
        for place, seconds in front_end_s.items()
    )
    _print_table(["codec", "front end", "ms per clip", *columns], cores)
    rows = []
    for machine, (precision, bits) in itertools.product(MACHINES, PRECISIONS.items()):
        card_s = machine.card_s(precision)
        on_cpu_s = front_end_s["cpu"][CODEC] + model_s[precision]
        cpu_s = front_end_s["accelerator"][CODEC] if machine.card else on_cpu_s
        clip_s = max(card_s, cpu_s / machine.num_cores)
        row = [machine.card or "none", f"{machine.name}, {machine.num_cores}", bits, f"{1 / clip_s:,.0f}"]
        for clips in CORPORA.values():
            hours = clips * clip_s / 3600
            row += [f"{hours:,.1f}", f"{hours * machine.price_usd:,.0f}"]
        rows.append([*row, f"{100 * card_s / clip_s:.0f} %" if machine.card else "-"])
    columns = [f"{name}: {unit}" for name in CORPORA for unit in ("hours", "USD")]
    _print_table(["GPU", "machine, vCPUs", "precision", "clips/s", *columns, "GPU at work"], rows)


def _print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print("\n" + table(header, rows, "---"))


if __name__ == "__main__":
    main()

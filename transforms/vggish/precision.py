"""What the network may compute in, and what each choice but float32 does to the bytes."""

from dataclasses import dataclass

FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
PRECISIONS = (FLOAT32, BFLOAT16, FLOAT16)


@dataclass(frozen=True)
class ChangedBytes:
    """How the bytes of features differ from those of float32.

    Attributes:
      fraction: of the bytes, those that are not equal.
      mean: of the differences' absolute values, over all bytes.
      worst: the largest difference.
    """

    fraction: float
    mean: float
    worst: int

    def __str__(self) -> str:
        return (
            f"changes {self.fraction:.1%} of the bytes on real audio (mean difference {self.mean:.2g}, worst "
            f"{self.worst}); see docs/performance.md"
        )


# Source: benchmarks/model.py on five real recordings, benchmarks/results/model.json.
CHANGED_BYTES = {
    BFLOAT16: ChangedBytes(fraction=0.293, mean=0.4, worst=15),
    FLOAT16: ChangedBytes(fraction=0.05, mean=0.05, worst=2),
}

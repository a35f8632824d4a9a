"""What the network may compute in, and what each choice but float32 does to the bytes."""

import contextlib
from dataclasses import dataclass
from typing import Any

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
    FLOAT16: ChangedBytes(fraction=0.051, mean=0.05, worst=2),
}


def exact_products(precision: str = FLOAT32) -> contextlib.AbstractContextManager[Any]:
    """Keeps products of float32 from being computed in fewer bits, as GPUs and TPUs would.

    With another precision it does nothing. For what is traced, or in PyTorch run, inside; in TensorFlow and
    PyTorch the setting is the process's.
    """
    from transforms.frameworks import keras  # seconds, where a network is only

    backend = keras.backend.backend()
    if precision != FLOAT32:
        return contextlib.nullcontext()
    if backend == "jax":
        import jax

        return jax.default_matmul_precision("highest")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(False)
    else:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return contextlib.nullcontext()

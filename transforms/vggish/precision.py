"""The dtypes that the network can compute in, and how much they change the features."""

import contextlib
from dataclasses import dataclass
from typing import Any

FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"
PRECISIONS = (FLOAT32, BFLOAT16, FLOAT16)


@dataclass(frozen=True)
class ChangedBytes:
    """How quantized features differ from those of float32.

    Attributes:
      fraction: share of the bytes that differ.
      mean: mean absolute difference over all bytes.
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
    """Prevent GPUs and TPUs from computing float32 products with fewer bits, such as TF32.

    It applies to what is traced (with PyTorch: run) inside the context. In TensorFlow and PyTorch it changes
    the setting of the whole process. With another precision it does nothing.
    """
    from transforms.frameworks import keras  # takes seconds, so only processes with a network import it

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

"""Floating-point operations of the network, and the peaks of accelerators."""

import math

from transforms.vggish.checkpoint import KERNEL_SHAPES
from transforms.vggish.params import EXAMPLE_FRAMES, MEL_BANDS
from transforms.vggish.precision import FLOAT32

# Dense TFLOP/s in bfloat16 or float16, and in float32 without TF32, from NVIDIA's data sheets, whose figures
# with sparsity are halved. The first name that the name of the device contains applies.
PEAK_TFLOPS = {
    "H100 PCIe": (756.0, 51.0),
    "H100 NVL": (835.0, 60.0),
    "H100": (989.4, 66.9),
    "H200": (989.4, 66.9),
    "A100": (312.0, 19.5),
    "L40S": (362.0, 91.6),
    "L4": (121.0, 30.3),
    "T4": (65.1, 8.1),
}


def peak_tflops(device: str, precision: str) -> float | None:
    """Return the dense peak of a device; None for an unknown device."""
    for name, (half, single) in PEAK_TFLOPS.items():
        if name in device:
            return single if precision == FLOAT32 else half
    return None


def network_flop() -> int:
    """Return the floating-point operations of the network per example, two for each multiply-and-add."""
    positions, flop = EXAMPLE_FRAMES * MEL_BANDS, 0
    for scope, shape in KERNEL_SHAPES.items():
        flop += 2 * math.prod(shape) * (positions if len(shape) == 4 else 1)
        if scope.endswith(("conv1", "conv2", "conv3_2", "conv4_2")):
            positions //= 4  # a 2x2 pooling follows
    return flop

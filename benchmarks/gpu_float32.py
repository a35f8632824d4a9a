"""Trial: float32 on tensor cores, as products of parts in fewer bits: python benchmarks/gpu_float32.py

A float32 is the sum of two or three numbers of fewer bits, each exact on tensor cores. Convolutions get the
parts side by side on the channel axis; dense layers use JAX's dot algorithms or the same parts. For each
way the trial measures examples per second from the accelerator's memory, and how the bytes agree with those
of plain float32. Needs JAX and NumPy.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.gpu_profile import kernel_times

# Output channels, and whether a 2x2 pool follows.
_CONVS = ((64, True), (128, True), (256, False), (256, True), (512, False), (512, True))
_DENSE = (4096, 4096, 128)
_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_CALLS = 8
# Which part of the left stands beside which of the right; 0 has the highest bits.
_PAIRS = {3: ((0, 0), (0, 1), (1, 0)), 6: ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))}


def weights(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels and biases, He-initialised."""
    rng, channels, layers = np.random.default_rng(seed), 1, []
    for units, _ in _CONVS:
        scale = np.sqrt(2 / (9 * channels))
        layers.append((rng.normal(0, scale, (3, 3, channels, units)), rng.normal(0, 0.01, units)))
        channels = units
    inputs = 6 * 4 * channels
    for units in _DENSE:
        layers.append((rng.normal(0, np.sqrt(2 / inputs), (inputs, units)), rng.normal(0, 0.01, units)))
        inputs = units
    return [(kernel.astype(np.float32), bias.astype(np.float32)) for kernel, bias in layers]


def bfloat16_parts(values: Any, number: int) -> list[Any]:
    parts, rest = [], values
    for _ in range(number):
        # A barrier, or XLA takes the rounding for superfluous.
        parts.append(lax.optimization_barrier(rest.astype(jnp.bfloat16)))
        rest = rest - parts[-1].astype(jnp.float32)
    return parts


def tf32_parts(values: Any, number: int) -> list[Any]:
    """Parts of 10 explicit bits each, cut off, so that what TF32 leaves out is zero."""
    parts, rest = [], values
    for _ in range(number):
        bits = lax.bitcast_convert_type(rest, jnp.uint32) & jnp.uint32(0xFFFFE000)
        parts.append(lax.bitcast_convert_type(bits, jnp.float32))
        rest = rest - parts[-1]
    return parts


def _beside(parts: Callable, products: int, left: Any, right: Any, axis: int) -> tuple[Any, Any]:
    pairs = _PAIRS[products]
    lefts, rights = parts(left, 2 + (products > 3)), parts(right, 2 + (products > 3))
    # The smallest products first, so that they are added up before the large ones.
    pairs = pairs[::-1]
    return (
        jnp.concatenate([lefts[own] for own, _ in pairs], -1),
        jnp.concatenate([rights[other] for _, other in pairs], axis),
    )


def conv(left: Any, right: Any, precision: Any) -> Any:
    return lax.conv_general_dilated(
        left, right, (1, 1), "SAME", dimension_numbers=_DIMENSIONS, precision=precision,
        preferred_element_type=jnp.float32,
    )  # fmt: skip


def conv_parts(left: Any, right: Any, parts: Callable, products: int) -> Any:
    return conv(*_beside(parts, products, left, right, 2), lax.Precision.DEFAULT)


def conv_dots(left: Any, right: Any, algorithm: Any) -> Any:
    """Nine matrix products of shifted inputs."""
    n, height, width, channels = left.shape
    padded = jnp.pad(left, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = None
    for row in range(3):
        for column in range(3):
            shifted = padded[:, row : row + height, column : column + width].reshape(-1, channels)
            product = jnp.dot(
                shifted, right[row, column], precision=algorithm, preferred_element_type=jnp.float32
            )
            total = product if total is None else total + product
    return total.reshape(n, height, width, -1)


def dense(left: Any, right: Any, algorithm: Any) -> Any:
    return jnp.dot(left, right, precision=algorithm, preferred_element_type=jnp.float32)


def dense_parts(left: Any, right: Any, parts: Callable, products: int) -> Any:
    return dense(*_beside(parts, products, left, right, 0), lax.Precision.DEFAULT)


def network(layers: Any, examples: Any, convolve: Callable, multiply: Callable) -> Any:
    values = examples[..., np.newaxis]
    for number, ((kernel, bias), (_, pools)) in enumerate(zip(layers, _CONVS, strict=False)):
        way = convolve if number else partial(conv, precision=lax.Precision.HIGHEST)
        values = jnp.maximum(way(values, kernel) + bias, 0)
        if pools:
            values = lax.reduce_window(values, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
    values = values.reshape(len(examples), -1)
    for kernel, bias in layers[len(_CONVS) : -1]:
        values = jnp.maximum(multiply(values, kernel) + bias, 0)
    kernel, bias = layers[-1]
    return dense(values, kernel, lax.Precision.HIGHEST) + bias


def ways() -> dict[str, tuple[Callable, Callable]]:
    """Name -> how to convolve, and how to multiply matrices."""
    preset = lax.DotAlgorithmPreset
    highest, default = lax.Precision.HIGHEST, lax.Precision.DEFAULT
    bf16x3, bf16x6, tf32x3 = preset.BF16_BF16_F32_X3, preset.BF16_BF16_F32_X6, preset.TF32_TF32_F32_X3
    exact = partial(dense, algorithm=highest)
    return {
        "float32": (partial(conv, precision=highest), exact),
        "tf32": (partial(conv, precision=default), partial(dense, algorithm=default)),
        "conv tf32 parts x3": (partial(conv_parts, parts=tf32_parts, products=3), exact),
        "conv bf16 parts x3": (partial(conv_parts, parts=bfloat16_parts, products=3), exact),
        "conv bf16 parts x6": (partial(conv_parts, parts=bfloat16_parts, products=6), exact),
        "dense bf16 x3": (partial(conv, precision=default), partial(dense, algorithm=bf16x3)),
        "dense bf16 x6": (partial(conv, precision=default), partial(dense, algorithm=bf16x6)),
        "dense tf32 x3": (partial(conv, precision=default), partial(dense, algorithm=tf32x3)),
        "dense tf32 parts x3": (
            partial(conv, precision=default),
            partial(dense_parts, parts=tf32_parts, products=3),
        ),
        "dots bf16 x3": (partial(conv_dots, algorithm=bf16x3), partial(dense, algorithm=bf16x3)),
        "dots bf16 x6": (partial(conv_dots, algorithm=bf16x6), partial(dense, algorithm=bf16x6)),
        "dots tf32 x3": (partial(conv_dots, algorithm=tf32x3), partial(dense, algorithm=tf32x3)),
        "all tf32 parts x3": (
            partial(conv_parts, parts=tf32_parts, products=3),
            partial(dense_parts, parts=tf32_parts, products=3),
        ),
        "all bf16 parts x6": (
            partial(conv_parts, parts=bfloat16_parts, products=6),
            partial(dense_parts, parts=bfloat16_parts, products=6),
        ),
    }


def codes(embeddings: Any) -> np.ndarray:
    """Embeddings as bytes, spread over their range as PCA and quantization spread the real ones."""
    values = np.asarray(embeddings, np.float64)
    scaled = (values - values.mean(0)) / values.std(0)
    return ((np.clip(scaled, -2, 2) + 2) / 4 * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--limit_s", type=float, default=200.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    started = time.perf_counter()
    layers = jax.device_put(weights())
    examples = np.random.default_rng(1).uniform(-4, 4, (options.batch_size, 96, 64)).astype(np.float32)
    batch = jax.device_put(examples)
    results: dict[str, Any] = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "batch_size": options.batch_size,
        "ways": {},
    }
    expected = exact = None
    for name, (convolve, multiply) in ways().items():
        if time.perf_counter() - started > options.limit_s:
            break
        figures: dict[str, Any] = {}
        results["ways"][name] = figures
        try:
            forward = jax.jit(partial(network, convolve=convolve, multiply=multiply))
            found = np.asarray(forward(layers, batch))
            begun, calls = time.perf_counter(), 0
            while time.perf_counter() - begun < options.seconds:
                jax.block_until_ready([forward(layers, batch) for _ in range(_CALLS)])
                calls += _CALLS
            figures["examples_per_s"] = round(calls * options.batch_size / (time.perf_counter() - begun), 1)
            if expected is None:
                expected, exact = found, codes(found)
            apart = np.abs(codes(found).astype(int) - exact)
            figures |= {
                "relative_error": float(np.linalg.norm(found - expected) / np.linalg.norm(expected)),
                "bytes_equal": float((apart == 0).mean()),
                "largest_difference": int(apart.max()),
            }
            profile = kernel_times(lambda f=forward: jax.block_until_ready(f(layers, batch)))
            figures["kernels"] = profile and profile["kernels"][:6]
        except Exception as error:  # a way that this device lacks is a result too
            figures["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        print(json.dumps({name: figures}), flush=True)
        if options.out:
            options.out.write_text(json.dumps(results, indent=2) + "\n")
    print(f"done after {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from transforms.vggish.model import Embedder, build_vggish

TOLERANCE = 1e-4

# Maximum relative change by one rounding to 8 or 11 significant bits.
UNIT_ROUNDOFF = {"bfloat16": 2**-8, "float16": 2**-11}
NUM_LAYERS = 9

EMBED_IN_A_FRESH_PROCESS = """
import os, sys
import keras
import numpy as np
import psutil
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder

assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
weights, examples, embeddings, precision = sys.argv[1:]
np.save(embeddings, Embedder(read_weights(weights), 8, precision).embed(np.load(examples)))
print(psutil.Process().num_threads())
"""


def embed_in_a_fresh_process(
    weights: str, examples: np.ndarray, folder: Path, precision: str = "float32", **environment: str
) -> tuple[np.ndarray, int]:
    """Return the embeddings, and the number of threads that were used."""
    files = [folder / "examples.npy", folder / "embeddings.npy"]
    np.save(files[0], examples)
    printed = subprocess.check_output(
        [sys.executable, "-c", EMBED_IN_A_FRESH_PROCESS, weights, *map(str, files), precision],
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
    )
    return np.load(files[1]), int(printed)


def embed_with_jax(
    weights: str, examples: np.ndarray, folder: Path, precision: str = "float32"
) -> np.ndarray:
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    return embed_in_a_fresh_process(weights, examples, folder, precision, **environment)[0]


def convolve(images: np.ndarray, kernel: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """3x3 convolution with SAME padding and ReLU: images [n, h, w, c], kernel [3, 3, c, d]."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = biases + sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )
    return np.maximum(total, 0)


def pool(images: np.ndarray) -> np.ndarray:
    n, height, width, channels = images.shape
    return images.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


def reference_embeddings(examples: np.ndarray, weights) -> np.ndarray:
    """Compute VGGish in NumPy, according to the paper and the reference's `vggish_slim.py`."""

    def layer(scope: str) -> tuple[np.ndarray, np.ndarray]:
        return weights[f"vggish/{scope}/weights"], weights[f"vggish/{scope}/biases"]

    net = examples[..., np.newaxis]
    net = pool(convolve(net, *layer("conv1")))
    net = pool(convolve(net, *layer("conv2")))
    net = pool(convolve(convolve(net, *layer("conv3/conv3_1")), *layer("conv3/conv3_2")))
    net = pool(convolve(convolve(net, *layer("conv4/conv4_1")), *layer("conv4/conv4_2")))
    net = net.reshape(len(examples), 6 * 4 * 512)
    for scope in ("fc1/fc1_1", "fc1/fc1_2"):
        kernel, biases = layer(scope)
        net = np.maximum(net @ kernel + biases, 0)
    kernel, biases = layer("fc2")
    return net @ kernel + biases


@pytest.fixture(scope="module")
def biased_model(biased_weights):
    return build_vggish(biased_weights)


def test_model_has_the_released_variables(biased_model, biased_weights):
    shapes = [tuple(variable.shape) for variable in biased_model.weights]
    assert shapes == [array.shape for array in biased_weights.values()]
    assert round(biased_model.count_params() / 1e6, 1) == 72.1
    assert biased_model.input_shape == (None, 96, 64)
    assert biased_model.output_shape == (None, 128)


def test_every_layer_has_its_own_weights(biased_model, biased_weights):
    for name, array in biased_weights.items():
        _, *_, layer, kind = name.split("/")
        kernel, biases = biased_model.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel if kind == "weights" else biases, array, name)


def test_model_equals_numpy_and_has_no_last_relu(biased_model, biased_weights, noise_examples):
    examples = noise_examples[:3]
    embeddings = np.asarray(biased_model.predict_on_batch(examples))
    expected = reference_embeddings(examples, biased_weights)
    assert (expected < -0.1).any()
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=TOLERANCE)


def test_embedder_equals_numpy(embedder, random_weights, noise_examples):
    embeddings = embedder.embed(noise_examples[:10])
    assert embeddings.dtype == np.float32
    expected = reference_embeddings(noise_examples[[0, 7, 8, 9]], random_weights)
    np.testing.assert_allclose(embeddings[[0, 7, 8, 9]], expected, rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def noise_embeddings(embedder, noise_examples):
    return embedder.embed(noise_examples)


@pytest.mark.parametrize("batch_size", [7, 16, 32, 64])
def test_batch_size_does_not_change_a_bit(noise_embeddings, random_weights, noise_examples, batch_size):
    other = Embedder(random_weights, batch_size)
    np.testing.assert_array_equal(other.embed(noise_examples), noise_embeddings)


def test_the_position_in_the_batch_does_not_change_a_bit(embedder, noise_examples):
    alone = [embedder.embed(example[np.newaxis])[0] for example in noise_examples[:9]]
    np.testing.assert_array_equal(embedder.embed(noise_examples[:9]), alone)


def test_clips_together_equal_each_clip_alone(embedder, noise_examples):
    lengths = [1, 8, 0, 3, 10, 0]
    clips = np.split(noise_examples[: sum(lengths)], np.cumsum(lengths)[:-1])
    together = embedder.embed_clips(clips)
    assert [len(embeddings) for embeddings in together] == lengths
    for clip, embeddings in zip(clips, together, strict=True):
        np.testing.assert_array_equal(embeddings, embedder.embed(clip))


def test_no_examples_give_no_embeddings(embedder):
    embeddings = embedder.embed(np.empty((0, 96, 64), np.float32))
    assert embeddings.shape == (0, 128)
    assert embeddings.dtype == np.float32


def test_examples_are_left_unchanged(embedder, noise_examples):
    examples = noise_examples[:3].copy()
    embedder.embed(examples)
    np.testing.assert_array_equal(examples, noise_examples[:3])


def test_threads_can_share_an_embedder(embedder, noise_examples):
    clips = [noise_examples[i : i + 3] for i in range(8)]
    expected = [embedder.embed(clip) for clip in clips]
    with ThreadPoolExecutor(4) as executor:
        for embeddings, own in zip(executor.map(embedder.embed, clips), expected, strict=True):
            np.testing.assert_array_equal(embeddings, own)


def test_embeddings_equal_the_goldens(shared, golden_embedder):
    with np.load(shared / "golden" / "vggish.npz") as golden:
        embeddings = golden_embedder.embed(golden["examples"])
        np.testing.assert_allclose(embeddings, golden["embeddings"], rtol=0, atol=TOLERANCE)


@pytest.mark.integration
def test_jax_gives_what_tensorflow_gives(embedder, noise_examples, tmp_path):
    examples = noise_examples[:10]
    embeddings = embed_with_jax("random:0", examples, tmp_path)
    np.testing.assert_allclose(embeddings, embedder.embed(examples), rtol=0, atol=TOLERANCE)


def check_is_rounded(embeddings: np.ndarray, expected: np.ndarray, precision: str) -> None:
    """Check that embeddings equal the expected ones, except for the network's rounding.

    A layer rounds weights, sums and outputs, each by a third of a squared unit roundoff on the average, so
    together by one; errors of random signs add as squares, and a layer hands them on as it does its input.
    """
    assert embeddings.dtype == np.float32
    error = np.sqrt(np.mean((embeddings - expected) ** 2)) / np.sqrt(np.mean(expected**2))
    # At least the output itself is rounded.
    assert UNIT_ROUNDOFF[precision] / 4 < error < np.sqrt(NUM_LAYERS) * UNIT_ROUNDOFF[precision]


@pytest.fixture
def fusing():
    """TensorFlow's fusions, which float16 turns off, are on again for other tests."""
    import tensorflow as tf

    yield
    tf.config.optimizer.set_experimental_options({"remapping": True})


@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
def test_precision_changes_embeddings_only_by_its_rounding(
    embedder, random_weights, noise_examples, precision, fusing
):
    examples = noise_examples[:10]
    before = embedder.embed(examples)
    rounded = Embedder(random_weights, 8, precision)
    layers = [layer for layer in rounded._model.layers if layer.name != "embedding"]
    assert {layer.compute_dtype for layer in layers} == {precision}
    assert {variable.dtype for variable in rounded._model.variables} == {precision}
    expected = reference_embeddings(examples, random_weights)
    check_is_rounded(rounded.embed(examples), expected, precision)
    # Another precision in the same process does not change a bit.
    np.testing.assert_array_equal(embedder.embed(examples), before)


@pytest.mark.integration
@pytest.mark.parametrize("precision", UNIT_ROUNDOFF)
def test_jax_supports_the_precisions_too(random_weights, noise_examples, precision, tmp_path):
    examples = noise_examples[:3]
    embeddings = embed_with_jax("random:0", examples, tmp_path, precision)
    check_is_rounded(embeddings, reference_embeddings(examples, random_weights), precision)


@pytest.mark.integration
def test_number_of_threads_does_not_change_a_bit(embedder, noise_examples, tmp_path):
    examples, threads = noise_examples[:10], {}
    for given in (1, 9):
        environment = {"TF_NUM_INTRAOP_THREADS": str(given), "OPENBLAS_NUM_THREADS": "1"}
        embeddings, threads[given] = embed_in_a_fresh_process("random:0", examples, tmp_path, **environment)
        np.testing.assert_array_equal(embeddings, embedder.embed(examples))
    assert threads[9] - threads[1] >= 8  # TensorFlow uses the setting


@pytest.mark.integration
def test_jax_gives_the_goldens(shared, golden_weights, tmp_path):
    weights = tmp_path / "golden.weights.h5"
    build_vggish(golden_weights).save_weights(weights)
    with np.load(shared / "golden" / "vggish.npz") as golden:
        embeddings = embed_with_jax(str(weights), golden["examples"], tmp_path)
        weights.unlink()  # 288 MB
        np.testing.assert_allclose(embeddings, golden["embeddings"], rtol=0, atol=TOLERANCE)

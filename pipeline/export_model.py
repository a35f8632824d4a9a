"""python -m pipeline.export_model --output=DIR: exports waveform-to-embeddings as a TensorFlow SavedModel.

The model needs only TensorFlow, not this project:

    embed = tf.saved_model.load(DIR).signatures["serving_default"]
    embed(waveform=samples)["embeddings"]

`samples` is float32[samples], mono at 16 kHz, full scale 1.0, of any length; fewer than 15,600 samples give
no embedding. `embeddings` is uint8[n, 128], the release's bytes, or with --postprocess=raw float32[n, 128].
"""

import sys
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipeline.assets.resolve import find_pca_params, find_weights
from pipeline.cli.commands import EXPORT_MODEL
from pipeline.cli.option_groups import QUANTIZED
from pipeline.process.main import run_main
from transforms.errors import SettingError
from transforms.pcm import device_front_end
from transforms.printable import say
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.fused import Quantize, build_fused
from transforms.vggish.model import build_vggish
from transforms.vggish.params import EMBEDDING_SIZE, INT16_SCALE, SAMPLE_RATE_HZ, Framing

# Examples per batch, which bounds the memory for a long waveform.
_BATCH = 32
# This file marks a folder as incomplete. Only then the command deletes the files that TensorFlow saves there.
_MARK = ".incomplete"
_SAVED_NAMES = ("assets", "variables", "fingerprint.pb", "saved_model.pb")


def run(argv: Sequence[str]) -> int:
    """Writes the SavedModel and returns the exit status.

    Raises:
      SettingError: a mistake in the command, or the weights cannot be found or downloaded.
    """
    options, _ = EXPORT_MODEL.parse(argv)
    if keras.backend.backend() != "tensorflow":
        raise SettingError(
            f"KERAS_BACKEND={keras.backend.backend()}: a SavedModel needs TensorFlow; set it to tensorflow"
        )
    mark = _begin_output(options.output)
    quantize = None
    if options.postprocess == QUANTIZED:
        pca, _ = find_pca_params(options.pca_params, options.assets_dir)
        quantize = Quantize(pca, name="quantize")
    weights = find_weights(options.weights, options.assets_dir)
    say(f"weights: {weights}")
    vggish = build_vggish(read_weights(weights.path), options.precision)
    model = build_fused(device_front_end(SAMPLE_RATE_HZ), vggish, quantize, "float32")
    save(model, options.output)
    tf.io.gfile.remove(mark)
    say(f"written to {options.output}")
    return 0


def _begin_output(path: str) -> str:
    """Deletes what a killed command left, marks the folder as incomplete, and returns the mark's path."""
    mark = f"{path.rstrip('/')}/{_MARK}"
    try:
        tf.io.gfile.makedirs(path)
        if tf.io.gfile.exists(mark):
            for name in _SAVED_NAMES:
                saved = f"{path}/{name}"
                if tf.io.gfile.exists(saved):
                    (tf.io.gfile.rmtree if tf.io.gfile.isdir(saved) else tf.io.gfile.remove)(saved)
            tf.io.gfile.remove(mark)
        existing = tf.io.gfile.listdir(path)
        if not existing:
            with tf.io.gfile.GFile(mark, "w") as file:
                file.write("the model is being written\n")
    except (tf.errors.OpError, OSError) as error:
        raise SettingError(f"--output={path}: cannot be written ({error}); give another folder") from error
    if existing:
        raise SettingError(
            f"--output={path}: is not empty, it contains {existing[0]}; give another folder or delete it"
        )
    return mark


def save(model: keras.Model, path: str) -> None:
    """Writes a SavedModel of waveforms; `model` is a model of windows from `build_fused` at 16 kHz."""
    window, hop = Framing().min_samples, round(Framing().hop_s * SAMPLE_RATE_HZ)
    dtype = tf.as_dtype(model.outputs[0].dtype)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
    def embed(waveform):
        windows = tf.signal.frame(waveform * INT16_SCALE, window, hop)
        num_examples = tf.shape(windows)[0]
        num_batches = -(-num_examples // _BATCH)
        parts = tf.TensorArray(dtype, num_batches, element_shape=[None, EMBEDDING_SIZE], infer_shape=False)
        for number in tf.range(num_batches):
            batch = windows[number * _BATCH : (number + 1) * _BATCH]
            parts = parts.write(number, model(batch, training=False)[0])
        return {"embeddings": parts.concat()}

    module = tf.Module()
    module.model, module.embed = model, embed
    tf.saved_model.save(module, path, signatures=embed)


if __name__ == "__main__":
    sys.exit(run_main("pipeline.export_model", lambda: run(sys.argv[1:])))

import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from transforms.errors import SettingError
from transforms.vggish import checkpoint
from transforms.vggish.checkpoint import VARIABLE_SHAPES, check_weights, read_weights
from transforms.vggish.model import build_vggish, export_keras_weights

# In the order of the released checkpoint.
RELEASED_SHAPES = {
    "vggish/conv1/weights": (3, 3, 1, 64),
    "vggish/conv1/biases": (64,),
    "vggish/conv2/weights": (3, 3, 64, 128),
    "vggish/conv2/biases": (128,),
    "vggish/conv3/conv3_1/weights": (3, 3, 128, 256),
    "vggish/conv3/conv3_1/biases": (256,),
    "vggish/conv3/conv3_2/weights": (3, 3, 256, 256),
    "vggish/conv3/conv3_2/biases": (256,),
    "vggish/conv4/conv4_1/weights": (3, 3, 256, 512),
    "vggish/conv4/conv4_1/biases": (512,),
    "vggish/conv4/conv4_2/weights": (3, 3, 512, 512),
    "vggish/conv4/conv4_2/biases": (512,),
    "vggish/fc1/fc1_1/weights": (12288, 4096),
    "vggish/fc1/fc1_1/biases": (4096,),
    "vggish/fc1/fc1_2/weights": (4096, 4096),
    "vggish/fc1/fc1_2/biases": (4096,),
    "vggish/fc2/weights": (4096, 128),
    "vggish/fc2/biases": (128,),
}


def write_v1(path, variables) -> str:
    tf.raw_ops.Save(filename=str(path), tensor_names=list(variables), data=list(variables.values()))
    return str(path)


def write_v2(path, variables) -> str:
    tf.raw_ops.SaveV2(
        prefix=str(path),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    return str(path)


def write_h5(path, layers, dtype="float32") -> str:
    """Write a Keras weights file of {layer: [shape, ...]} without values, which h5py reads as 0."""
    with h5py.File(path, "w") as file:
        for number, (name, shapes) in enumerate(layers.items()):
            group = file.create_group(f"layers/layer_{number}/vars")
            group.attrs["name"] = name
            for index, shape in enumerate(shapes):
                group.create_dataset(str(index), shape, dtype)
    return str(path)


def keras_layers() -> dict[str, list[tuple[int, ...]]]:
    layers: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in RELEASED_SHAPES.items():
        layers.setdefault(name.split("/")[-2], []).append(shape)
    return layers


def tiny_variables() -> dict[str, np.ndarray]:
    return {name: np.zeros([1] * len(shape), np.float32) for name, shape in RELEASED_SHAPES.items()}


def message_of(source) -> str:
    """Return the error that both functions raise."""
    with pytest.raises(SettingError) as checked:
        check_weights(str(source))
    with pytest.raises(SettingError) as read:
        read_weights(str(source))
    assert str(checked.value) == str(read.value)
    assert "\n" not in str(read.value)
    assert str(source) in str(read.value)
    return str(read.value)


def assert_same_bits(weights, expected) -> None:
    assert set(weights) == set(RELEASED_SHAPES)
    for name, array in expected.items():
        assert weights[name].dtype == np.float32
        np.testing.assert_array_equal(weights[name].view(np.uint32), array.view(np.uint32), name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for files of full size, which pytest would keep for three runs: 1.4 GB each."""
    path = tmp_path_factory.mktemp("weights")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def v1_checkpoint(folder, biased_weights):
    return write_v1(folder / "v1.ckpt", biased_weights)


@pytest.fixture(scope="module")
def v2_checkpoint(folder, biased_weights):
    return write_v2(folder / "v2.ckpt", biased_weights)


@pytest.fixture(scope="module")
def keras_files(folder, biased_weights):
    model = build_vggish(biased_weights)
    export_keras_weights(biased_weights, str(folder / "plain.weights.h5"))
    model.compile(optimizer=keras.optimizers.SGD(momentum=0.9))
    model.optimizer.build(model.trainable_variables)
    model.save_weights(folder / "with_optimizer.weights.h5")
    with h5py.File(folder / "with_optimizer.weights.h5") as file:
        assert len(file["optimizer/vars"]) > 18
    return folder


def test_variables_are_the_released_ones():
    assert VARIABLE_SHAPES == RELEASED_SHAPES


def test_v1_checkpoint_is_read_bit_by_bit(v1_checkpoint, biased_weights):
    check_weights(v1_checkpoint)
    assert_same_bits(read_weights(v1_checkpoint), biased_weights)


@pytest.mark.parametrize("suffix", ["", ".index"])
def test_v2_checkpoint_is_read_bit_by_bit(v2_checkpoint, biased_weights, suffix):
    check_weights(v2_checkpoint + suffix)
    assert_same_bits(read_weights(v2_checkpoint + suffix), biased_weights)


@pytest.mark.parametrize("write", [write_v1, write_v2])
@pytest.mark.parametrize("name", ["[1]/a.ckpt", "what? *\\/[ab]*.ckpt"])
def test_a_path_of_a_checkpoint_is_no_glob(tmp_path, write, name):
    path = tmp_path / name
    path.parent.mkdir()
    values = {"a": np.arange(3, dtype=np.float32), "b/c": np.ones((1, 2), np.float32)}
    write(tmp_path / "a.ckpt", {"other": np.zeros(1, np.float32)})
    write(path, values)
    shapes, read = checkpoint._open_tensorflow(str(path))
    assert shapes == {"a": (3,), "b/c": (1, 2)}
    for variable, array in values.items():
        np.testing.assert_array_equal(read(variable), array)


@pytest.mark.parametrize("name", ["plain.weights.h5", "with_optimizer.weights.h5"])
def test_keras_weights_are_read_bit_by_bit(keras_files, biased_weights, name):
    path = str(keras_files / name)
    check_weights(path)
    assert_same_bits(read_weights(path), biased_weights)


def test_random_weights_have_the_released_shapes(random_weights):
    assert {name: array.shape for name, array in random_weights.items()} == RELEASED_SHAPES
    assert all(array.dtype == np.float32 for array in random_weights.values())


def test_random_weights_keep_the_spread_of_their_input(random_weights):
    """He's initialization, so that no layer makes the values vanish; the last one has a spread of its own."""
    for name, array in random_weights.items():
        if name.endswith("biases"):
            assert not array.any()
        else:
            gain = 0.1 if name.startswith("vggish/fc2") else 2**0.5
            inputs = array[..., 0].size
            assert abs(array.mean()) < 0.1 * array.std()
            assert array.std() == pytest.approx(gain / inputs**0.5, rel=0.1)


def test_a_seed_always_gives_the_same_weights_and_another_seed_others(random_weights, monkeypatch):
    # Not those that the tests keep.
    monkeypatch.setattr(checkpoint, "_random_variable", checkpoint._random_variable.__wrapped__)
    other = read_weights("random:1")
    assert not np.array_equal(other["vggish/fc2/weights"], random_weights["vggish/fc2/weights"])
    again = read_weights("random:0")
    assert again is not random_weights
    assert_same_bits(again, random_weights)


@pytest.mark.parametrize("source", ["random:abc", "random:", "random:-1", "random:1.5", "random: 1"])
def test_seed_is_a_whole_number(source):
    assert "seed" in message_of(source)


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_one_message_lists_all_problems_of_a_checkpoint(tmp_path, write):
    variables = tiny_variables()
    del variables["vggish/conv1/weights"], variables["vggish/fc2/biases"]
    variables["vggish/conv5/weights"] = variables["global_step"] = np.zeros(1, np.float32)
    message = message_of(write(tmp_path / "bad.ckpt", variables))
    assert "missing vggish/conv1/weights" in message
    assert "missing vggish/fc2/biases" in message
    assert "extra global_step" in message
    assert "extra vggish/conv5/weights" in message
    assert "vggish/fc1/fc1_1/weights is [1, 1], not [12288, 4096]" in message
    assert message.count(", not [") == 16


def test_one_message_lists_all_problems_of_keras_weights(tmp_path):
    layers = keras_layers()
    del layers["conv2"]
    layers["conv5"] = [(3, 3, 512, 512), (512,)]
    layers["fc2"] = [(4096, 64), (64,)]
    message = message_of(write_h5(tmp_path / "bad.weights.h5", layers))
    assert "missing vggish/conv2/weights" in message
    assert "missing vggish/conv2/biases" in message
    assert "extra conv5/weights" in message
    assert "vggish/fc2/weights is [4096, 64], not [4096, 128]" in message
    assert "vggish/fc2/biases is [64], not [128]" in message


def test_weights_of_another_keras_model_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    model.save_weights(tmp_path / "other.weights.h5")
    message_of(tmp_path / "other.weights.h5")


def test_an_h5_file_without_layers_lacks_all_variables(tmp_path):
    assert message_of(write_h5(tmp_path / "empty.weights.h5", {})).count("missing") == 18


def test_keras_weights_with_another_float_type_become_float32(tmp_path):
    path = write_h5(tmp_path / "half.weights.h5", keras_layers(), "float16")
    assert {array.dtype for array in read_weights(path).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", ["model.ckpt", "model.weights.h5"])
@pytest.mark.parametrize("data", [b"", b"this is no checkpoint\n" * 100])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert "cannot be read as a checkpoint" in message_of(tmp_path / name)


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt.index", "model.weights.h5"])
def test_a_missing_file_is_refused(tmp_path, name):
    assert "cannot be read as a checkpoint" in message_of(tmp_path / name)


def test_v2_checkpoint_without_its_values_is_refused(tmp_path, v2_checkpoint):
    (tmp_path / "cut.index").hardlink_to(v2_checkpoint + ".index")
    (tmp_path / "cut.data-00000-of-00001").write_bytes(bytes(1_000))
    path = str(tmp_path / "cut")
    with pytest.raises(SettingError, match="cannot be read as a checkpoint"):
        check_weights(path)


def test_truncated_v1_checkpoint_is_refused(tmp_path, v1_checkpoint):
    with open(v1_checkpoint, "rb") as file:
        (tmp_path / "cut.ckpt").write_bytes(file.read(1_000_000))
    assert "cannot be read as a checkpoint" in message_of(tmp_path / "cut.ckpt")


def test_weights_that_are_not_finite_are_refused(tmp_path, biased_weights):
    bad = dict(biased_weights)
    bad["vggish/fc2/biases"] = np.full(128, np.nan, np.float32)
    path = str(tmp_path / "nan.weights.h5")
    export_keras_weights(bad, path)
    with pytest.raises(SettingError, match="vggish/fc2/biases has NaN or infinite values"):
        check_weights(path)


@pytest.mark.parametrize("kind", ["external storage", "virtual", "external link", "soft link", "layers"])
def test_weights_that_would_read_other_files_are_refused(tmp_path, kind):
    other = tmp_path / "other.h5"
    shape = RELEASED_SHAPES["vggish/fc2/biases"]
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones(shape, np.float32)
        file.create_group("layers")
    path = tmp_path / "x.weights.h5"
    write_h5(path, keras_layers())
    with h5py.File(path, "r+") as file:
        (group,) = [
            group["vars"] for group in file["layers"].values() if group["vars"].attrs["name"] == "fc2"
        ]
        del group["1"]
        if kind == "external storage":
            group.create_dataset("1", shape, np.float32, external=[(str(other), 0, 4 * shape[0])])
        elif kind == "virtual":
            layout = h5py.VirtualLayout(shape, np.float32)
            layout[:] = h5py.VirtualSource(str(other), "secret", shape)
            group.create_virtual_dataset("1", layout)
        elif kind == "external link":
            group["1"] = h5py.ExternalLink(str(other), "secret")
        elif kind == "soft link":
            group["1"] = h5py.SoftLink("/layers")
        else:
            del file["layers"]
            file["layers"] = h5py.ExternalLink(str(other), "layers")
    expected = "has its values in other files" if kind in ("external storage", "virtual") else "is a link,"
    assert expected in message_of(path)

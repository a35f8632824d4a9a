import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from transforms.errors import SettingError
from transforms.vggish.postprocess import (
    RELEASED_RANGE,
    PcaParams,
    QuantizationRange,
    apply_pca,
    dequantize,
    encode_pca_params,
    postprocess,
    quantize,
    read_pca_params,
)

RECORDINGS = ["car-horn.wav", "crowd_cheering.wav", "jazz_guitar.wav", "train.wav", "typing.wav"]
VALUES = st.floats(allow_nan=False)


def random_params(seed: int = 0) -> PcaParams:
    rng = np.random.default_rng(seed)
    return PcaParams(rng.standard_normal((128, 128)), rng.standard_normal((128, 1)))


def npz(save=np.savez, **arrays_by_name) -> io.BytesIO:
    file = io.BytesIO()
    save(file, **arrays_by_name)
    file.seek(0)
    return file


def params_npz(**changes) -> io.BytesIO:
    params = random_params()
    content = {"pca_eigen_vectors": params.eigen_vectors, "pca_means": params.means} | changes
    return npz(**{name: array for name, array in content.items() if array is not None})


def message_of(file: io.BytesIO) -> str:
    with pytest.raises(SettingError) as caught:
        read_pca_params(file, "my_pca.npz")
    assert "my_pca.npz" in str(caught.value)
    return str(caught.value)


def test_released_chain_gives_the_golden_bytes(shared):
    with open(shared / "data" / "vggish_pca_params.npz", "rb") as file:
        params = read_pca_params(file, "vggish_pca_params.npz")
    with np.load(shared / "golden" / "vggish.npz") as golden:
        np.testing.assert_array_equal(postprocess(golden["embeddings"], params), golden["quantized"])


def test_recordings_give_the_golden_bytes(shared, golden_embedder):
    with open(shared / "data" / "vggish_pca_params.npz", "rb") as file:
        params = read_pca_params(file, "vggish_pca_params.npz")
    with np.load(shared / "golden" / "real_audio.npz") as golden:
        examples = np.concatenate([golden[f"examples/{name}"] for name in RECORDINGS])
        expected = np.concatenate([golden[f"quantized/{name}"] for name in RECORDINGS])
    codes = postprocess(golden_embedder.embed(examples.astype(np.float32)), params)
    # A value on the edge between two codes may fall on either side of it.
    assert np.abs(codes.astype(int) - expected).max() <= 1
    assert (codes == expected).mean() > 0.999


def test_equals_the_formula_one_value_at_a_time():
    params = random_params()
    embeddings = 0.2 * np.random.default_rng(1).standard_normal((3, 128)).astype(np.float32)
    codes = postprocess(embeddings, params)
    assert codes.shape == (3, 128)
    assert codes.dtype == np.uint8
    for row, embedding in zip(codes, embeddings, strict=True):
        centred = [float(e) - float(m) for e, m in zip(embedding, params.means[:, 0], strict=True)]
        for code, vector in zip(row, params.eigen_vectors, strict=True):
            value = sum(v * c for v, c in zip(vector.tolist(), centred, strict=True))
            assert code == int((min(max(value, -2.0), 2.0) + 2.0) * 255 / 4)


def test_pca_centres_and_rotates_in_float64():
    params = random_params()
    projected = apply_pca(params.means.T, params)
    assert projected.dtype == np.float64
    np.testing.assert_array_equal(projected, np.zeros((1, 128)))
    unit = np.zeros((1, 128))
    unit[0, 5] = 1
    np.testing.assert_allclose(
        apply_pca(unit + params.means.T, params)[0], params.eigen_vectors[:, 5], rtol=0, atol=1e-12
    )


def test_without_pca_embeddings_are_only_quantized():
    embeddings = np.array([[-2.0, 0.0, 2.0, 1.0]], np.float32)
    np.testing.assert_array_equal(postprocess(embeddings, None), [[0, 127, 255, 191]])


def test_no_embeddings_give_no_codes():
    assert postprocess(np.empty((0, 128), np.float32), random_params()).shape == (0, 128)


@pytest.mark.parametrize("code", [0, 1, 100, 127, 253, 254])
def test_quantize_truncates_instead_of_rounding(code):
    almost_the_next = (code + 0.99) * 4 / 255 - 2
    assert quantize(np.array([almost_the_next])) == code


@pytest.mark.parametrize(
    ("value", "code"), [(-np.inf, 0), (-7.0, 0), (-2.0, 0), (0.0, 127), (2.0, 255), (7.0, 255), (np.inf, 255)]
)
def test_quantize_clips_at_two(value, code):
    assert quantize(np.array([value])) == code


@given(one=VALUES, other=VALUES)
def test_quantize_is_monotone(one, other):
    low, high = quantize(np.array(sorted([one, other])))
    assert low <= high


@given(values=arrays(np.float64, array_shapes(max_dims=2, max_side=20), elements=st.floats(-2, 2)))
def test_a_value_lies_within_its_codes_interval(values):
    edges = dequantize(quantize(values))
    assert edges.dtype == np.float32
    assert edges.shape == values.shape
    assert (edges <= values + 1e-6).all()
    assert (values < edges + 4 / 255 + 1e-6).all()


def test_dequantize_gives_lower_edges_from_minus_two_to_two():
    edges = dequantize(np.arange(256, dtype=np.uint8))
    np.testing.assert_allclose(edges, [code * 4 / 255 - 2 for code in range(256)], rtol=0, atol=2e-7)


def test_dequantized_codes_quantize_to_themselves_up_to_rounding():
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantize(dequantize(codes) + np.float32(1e-6)), codes)
    back = quantize(dequantize(codes)).astype(int)
    assert set(codes - back) <= {0, 1}


@pytest.mark.parametrize("shape", [(128, 1), (128,)])
def test_means_may_be_a_column_or_flat(shape):
    expected = random_params()
    params = read_pca_params(params_npz(pca_means=expected.means.reshape(shape)), "p")
    np.testing.assert_array_equal(params.means, expected.means)
    np.testing.assert_array_equal(params.eigen_vectors, expected.eigen_vectors)


def test_params_become_float64():
    vectors = np.eye(128, dtype=np.float32)
    params = read_pca_params(params_npz(pca_eigen_vectors=vectors, pca_means=np.zeros(128, np.int16)), "p")
    assert params.eigen_vectors.dtype == params.means.dtype == np.float64


@pytest.mark.parametrize("key", ["pca_eigen_vectors", "pca_means"])
def test_missing_array_is_named(key):
    assert f"no array {key}" in message_of(params_npz(**{key: None}))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("pca_eigen_vectors", (128, 64)),
        ("pca_eigen_vectors", (64, 128)),
        ("pca_eigen_vectors", (128,)),
        ("pca_means", (1, 128)),
        ("pca_means", (64,)),
        ("pca_means", ()),
    ],
)
def test_misshapen_array_is_named_with_its_shape(key, shape):
    message = message_of(params_npz(**{key: np.zeros(shape)}))
    assert key in message
    assert str(list(shape)) in message


@pytest.mark.parametrize("key", ["pca_eigen_vectors", "pca_means"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_array_with_a_value_that_is_not_finite_is_named(key, value):
    params = random_params()
    array = {"pca_eigen_vectors": params.eigen_vectors, "pca_means": params.means}[key]
    array[3, 0] = value
    message = message_of(params_npz(**{key: array}))
    assert key in message
    assert "finite" in message


@pytest.mark.parametrize("dtype", [np.complex128, np.bool_, "U3"])
def test_an_array_without_real_numbers_is_refused(dtype):
    assert "pca_means" in message_of(params_npz(pca_means=np.zeros(128).astype(dtype)))


def test_pickled_objects_are_refused():
    message_of(params_npz(pca_means=np.array([object()] * 128, dtype=object)))


@pytest.mark.parametrize("data", [b"", b"no archive\n" * 20, b"PK\x03\x04", bytes(100)])
def test_a_file_that_is_not_an_npz_is_refused(data):
    assert "not an .npz file" in message_of(io.BytesIO(data))


def test_npy_file_is_refused():
    file = io.BytesIO()
    np.save(file, np.eye(128))
    file.seek(0)
    message_of(file)


def test_truncated_npz_is_refused():
    message_of(io.BytesIO(params_npz().getvalue()[:50_000]))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@given(data=st.data())
def test_a_damaged_npz_is_refused_unless_its_parameters_are_intact(save, data):
    vectors = np.arange(128 * 128, dtype=float).reshape(128, 128)
    content = bytearray(npz(save, pca_eigen_vectors=vectors, pca_means=np.zeros(128)).getvalue())
    places = st.integers(0, 250) | st.integers(len(content) - 250, len(content) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        content[place] = data.draw(st.integers(0, 255))
    try:
        params = read_pca_params(io.BytesIO(bytes(content)), "p")
    except SettingError:
        return
    assert params.eigen_vectors.shape == (128, 128)
    assert np.isfinite(params.eigen_vectors).all()


@given(
    low=st.floats(-1e3, 1e3),
    width=st.floats(1e-3, 1e3),
    values=arrays(np.float64, 20, elements=st.floats(0, 1)),
)
def test_a_value_lies_within_its_codes_interval_of_any_range(low, width, values):
    quantization = QuantizationRange(low, low + width)
    values = low + width * values
    edges = dequantize(quantize(values, quantization), quantization)
    error = 1e-6 * (abs(low) + width)
    assert (edges <= values + error).all()
    assert (values < edges + quantization.step + error).all()
    np.testing.assert_array_equal(quantize(np.array([low - 1, low + 1.01 * width]), quantization), [0, 255])


def test_parameters_have_their_own_range():
    params = random_params()
    embeddings = np.random.default_rng(1).standard_normal((5, 128)).astype(np.float32)
    wide = PcaParams(params.eigen_vectors, params.means, QuantizationRange(-30.0, 50.0))
    np.testing.assert_array_equal(
        postprocess(embeddings, wide), quantize((apply_pca(embeddings, params) + 30) / 80 * 4 - 2)
    )


@pytest.mark.parametrize("quantization", [RELEASED_RANGE, QuantizationRange(-1.25, 3.5)])
def test_encoded_parameters_are_read_back(quantization):
    params = random_params()
    data = encode_pca_params(PcaParams(params.eigen_vectors, params.means, quantization))
    back = read_pca_params(io.BytesIO(data), "p")
    np.testing.assert_array_equal(back.eigen_vectors, params.eigen_vectors)
    np.testing.assert_array_equal(back.means, params.means)
    assert back.quantization == quantization
    assert encode_pca_params(back) == data


def test_encoded_parameters_have_the_released_arrays(shared):
    with np.load(shared / "data" / "vggish_pca_params.npz") as released:
        expected = {name: (released[name].shape, released[name].dtype) for name in released}
    with np.load(io.BytesIO(encode_pca_params(random_params()))) as ours:
        assert {name: (ours[name].shape, ours[name].dtype) for name in ours} == expected


@pytest.mark.parametrize("bad", [[2.0, -2.0], [1.0, 1.0]])
def test_a_range_that_does_not_ascend_is_refused(bad):
    assert "it must ascend; fit it again" in message_of(params_npz(quantization_range=np.array(bad)))
    with pytest.raises(ValueError, match="must ascend"):
        QuantizationRange(*bad)


@pytest.mark.parametrize("bad", [np.array([0.0, np.nan]), np.zeros(3), np.zeros((2, 1))])
def test_a_range_that_is_not_two_finite_numbers_is_refused(bad):
    assert "quantization_range" in message_of(params_npz(quantization_range=bad))


def npz_with(members: dict[str, bytes]) -> io.BytesIO:
    """Return a zip archive of the released arrays and of other members."""
    file = io.BytesIO()
    arrays = {"pca_eigen_vectors": np.eye(128), "pca_means": np.zeros(128)}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            if f"{name}.npy" not in members:
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{name}.npy", buffer.getvalue())
        for name, data in members.items():
            archive.writestr(name, data)
    file.seek(0)
    return file


def npy_header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_arrays_that_are_not_needed_are_not_decompressed():
    """Such a member of 0.1 MB would take 100 MB."""
    bomb = npy_header((12_500_000,)) + bytes(100_000_000)
    file = npz_with({"bomb.npy": bomb, "broken.npy": b"no array"})
    assert len(file.getvalue()) < 300_000
    tracemalloc.start()
    params = read_pca_params(file, "x.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(params.eigen_vectors, np.eye(128))
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "shape, num_bytes",
    [((12_500_000,), 100_000_000), ((1 << 40,), 0), ((128, 128), 2 << 20)],
    ids=["large", "large by its header", "large by the archive's"],
)
def test_an_array_that_is_too_large_is_refused_before_it_is_decompressed(shape, num_bytes):
    file = npz_with({"pca_means.npy": npy_header(shape) + bytes(num_bytes)})
    tracemalloc.start()
    with pytest.raises(SettingError, match=r"x\.npz: not an \.npz file \(pca_means has shape .* bytes\)"):
        read_pca_params(file, "x.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000

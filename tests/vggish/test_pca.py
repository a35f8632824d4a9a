import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import SettingError
from transforms.vggish.pca import fit_pca
from transforms.vggish.postprocess import apply_pca


def embeddings(num_frames: int = 400, seed: int = 0) -> np.ndarray:
    """float32[n, 128], whose axes have well separated variances."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    stds = np.geomspace(1, 0.02, 128)
    return ((rng.standard_normal((num_frames, 128)) * stds) @ axes + rng.standard_normal(128)).astype(
        np.float32
    )


def fit(frames: np.ndarray):
    frames = frames.astype(np.float64)
    return fit_pca(frames.mean(axis=0), np.cov(frames, rowvar=False), len(frames))


def test_equals_the_singular_vectors_of_the_frames():
    frames = embeddings()
    params = fit(frames)
    centred = frames.astype(np.float64) - frames.mean(axis=0, dtype=np.float64)
    _, singular, components = np.linalg.svd(centred)
    whitening = components / (singular / np.sqrt(len(frames) - 1))[:, None]
    for row, expected in zip(params.eigen_vectors, whitening, strict=True):
        expected = expected * np.sign(expected[np.abs(expected).argmax()])
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(params.means[:, 0], frames.mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_the_output_is_white():
    frames = embeddings()
    white = apply_pca(frames, fit(frames))
    np.testing.assert_allclose(white.mean(axis=0), np.zeros(128), rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(128), rtol=0, atol=1e-9)


def test_the_layout_is_that_of_the_released_parameters(shared):
    with np.load(shared / "data" / "vggish_pca_params.npz") as released:
        matrix = released["pca_eigen_vectors"]
    for rows in (matrix, fit(embeddings()).eigen_vectors):
        lengths = np.linalg.norm(rows, axis=1)
        assert (np.diff(lengths) > 0).all()  # the variances descend
        products = (rows @ rows.T) / np.outer(lengths, lengths)
        np.testing.assert_allclose(products, np.eye(128), rtol=0, atol=1e-6)


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), signs=st.integers(0, 2**32 - 1))
def test_signs_do_not_depend_on_the_frames_order(seed, signs):
    frames = embeddings(200, seed)
    params, other = fit(frames), fit(np.random.default_rng(signs).permutation(frames))
    np.testing.assert_allclose(other.eigen_vectors, params.eigen_vectors, rtol=0, atol=1e-6)
    largest = np.take_along_axis(
        params.eigen_vectors, np.abs(params.eigen_vectors).argmax(axis=1)[:, None], axis=1
    )
    assert (largest > 0).all()


@pytest.mark.parametrize("num_frames", [2, 128])
def test_too_few_frames_are_refused(num_frames):
    with pytest.raises(SettingError, match=f"vary in {num_frames - 1} of 128 directions"):
        fit(embeddings(num_frames))


def test_129_frames_are_enough():
    assert np.isfinite(fit(embeddings(129)).eigen_vectors).all()


def test_dimensions_that_never_change_are_named():
    frames = embeddings()
    frames[:, [3, 77]] = 0.25  # constant, as after a ReLU that is never active
    with pytest.raises(SettingError, match=r"126 of 128 directions; 2 dimensions never change \(3, 77\)"):
        fit(frames)
    frames[:, 77] = embeddings()[:, 77]
    with pytest.raises(SettingError, match=r"127 of 128 directions; 1 dimension never changes \(3\)"):
        fit(frames)


def test_frames_that_never_change_are_refused():
    with pytest.raises(SettingError, match="vary in 0 of 128 directions"):
        fit(np.ones((500, 128), np.float32))

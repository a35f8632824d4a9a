import os
import subprocess
import sys
from collections import ChainMap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import tones

from transforms.audio.dsp.waveform_examples import waveform_examples
from transforms.pcm import PcmWindows, device_front_end, pcm_windows
from transforms.vggish.fused import FusedEmbedder, Quantize
from transforms.vggish.postprocess import PcaParams, QuantizationRange, postprocess, read_pca_params

ROOT = Path(__file__).resolve().parents[2]
FUSED_IN_A_FRESH_PROCESS = """
import sys
sys.modules["tensorflow"] = None  # as if it were not installed
import keras
import numpy as np
from transforms.pcm import PcmWindows, device_front_end
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.fused import FusedEmbedder, _copy_parts

batch = np.arange(70, dtype=np.int16).reshape(10, 7)
for num_parts in (1, 8):
    placed = _copy_parts(batch, num_parts)
    assert placed.dtype == np.int16 and np.array_equal(np.asarray(placed), batch)
assert keras.backend.backend() == "jax"
windows, codes = sys.argv[1:]
embedder = FusedEmbedder(read_weights("random:0"), device_front_end, batch_size=8)
np.save(codes, embedder.embed_clips([PcmWindows(np.load(windows), 44_100)])[0])
assert not {"apache_beam", "resampy", "numba"} & set(sys.modules)
"""


def windows_of(waveform: np.ndarray, rate_hz: int) -> PcmWindows:
    return pcm_windows([waveform], rate_hz)


def examples_of(waveform: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.concatenate(list(waveform_examples([waveform], rate_hz)))


def assert_codes_agree(codes: np.ndarray, expected: np.ndarray) -> None:
    assert codes.dtype == np.uint8 and codes.shape == expected.shape
    assert np.abs(codes.astype(int) - expected).max() <= 1
    assert (codes == expected).mean() >= 0.999


@pytest.fixture(scope="module")
def random_pca():
    rng = np.random.default_rng(3)
    vectors, _ = np.linalg.qr(rng.standard_normal((128, 128)))
    return PcaParams(4 * vectors, 0.1 * rng.standard_normal((128, 1)))


@pytest.fixture(scope="module")
def fused(random_weights, random_pca):
    return FusedEmbedder(random_weights, device_front_end, True, random_pca, batch_size=8)


def test_clips_of_all_rates_agree_with_the_cpu_path(fused, embedder, random_pca):
    kinds = [(16_000, 2.5), (44_100, 9.0), (16_000, 1.0), (48_000, 3.0), (8_000, 2.0), (12_345, 2.0)]
    waveforms = [tones(length_s, hz, seed) for seed, (hz, length_s) in enumerate(kinds)]
    waveforms[2] += 1e-6  # not exact in int16
    clips = [windows_of(waveform, hz) for waveform, (hz, _) in zip(waveforms, kinds, strict=True)]
    assert {clip.samples.dtype.name for clip in clips} == {"int16", "float32"}
    found = fused.embed_clips(clips)
    for codes, waveform, (hz, _) in zip(found, waveforms, kinds, strict=True):
        expected = postprocess(embedder.embed(examples_of(waveform, hz)), random_pca)
        assert_codes_agree(codes, expected)
    again = fused.embed_clips(clips[::-1])[::-1]
    for codes, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(codes, other)


def test_bytes_have_the_range_of_the_parameters(random_pca):
    fitted = PcaParams(random_pca.eigen_vectors, random_pca.means, QuantizationRange(-1.3, 2.6))
    embeddings = 0.3 * np.random.default_rng(4).standard_normal((64, 128)).astype(np.float32)
    expected = postprocess(embeddings, fitted)
    assert {0, 255} < set(expected.ravel().tolist())
    assert_codes_agree(np.asarray(Quantize(fitted)(embeddings)), expected)


def test_raw_embeddings_are_float32(random_weights, embedder):
    waveform = tones(2.5, 16_000)
    raw = FusedEmbedder(random_weights, device_front_end, quantize=False, batch_size=8)
    (embeddings,) = raw.embed_clips([windows_of(waveform, 16_000)])
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, embedder.embed(examples_of(waveform, 16_000)), rtol=0, atol=1e-4)


def test_a_clip_with_embeddings_that_are_not_finite_has_no_result(random_weights):
    scope = "vggish/fc2/weights"
    weights = ChainMap({scope: random_weights[scope] * np.float32(1e38)}, random_weights)
    loud, silent = 1e30 * tones(1.0, 16_000), np.zeros(16_000)
    embedder = FusedEmbedder(weights, device_front_end, batch_size=8)
    found = embedder.embed_clips([windows_of(w, 16_000) for w in (loud, silent)])
    assert found[0] is None


def test_recordings_give_the_golden_bytes(shared, golden_weights):
    with open(shared / "data" / "vggish_pca_params.npz", "rb") as file:
        pca = read_pca_params(file, "vggish_pca_params.npz")
    clips, names = [], sorted(path.name for path in (shared / "data" / "audio").iterdir())
    for name in names:
        samples, rate_hz = soundfile.read(shared / "data" / "audio" / name, always_2d=True)
        clips.append(windows_of(samples.mean(axis=1), rate_hz))
    with np.load(shared / "golden" / "real_audio.npz") as golden:
        expected = np.concatenate([golden[f"quantized/{name}"] for name in names])
    embedder = FusedEmbedder(golden_weights, device_front_end, True, pca, batch_size=16)
    assert_codes_agree(np.concatenate(embedder.embed_clips(clips)), expected)


@pytest.mark.integration
def test_jax_equals_the_cpu_path_and_needs_no_other_package(embedder, tmp_path):
    waveform = tones(9.0, 44_100)
    files = [str(tmp_path / "windows.npy"), str(tmp_path / "codes.npy")]
    np.save(files[0], windows_of(waveform, 44_100).samples)
    subprocess.run(
        [sys.executable, "-c", FUSED_IN_A_FRESH_PROCESS, *files],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        check=True,
    )
    expected = postprocess(embedder.embed(examples_of(waveform, 44_100)), None)
    assert_codes_agree(np.load(files[1]), expected)

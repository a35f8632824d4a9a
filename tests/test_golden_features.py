"""The way from a waveform to the bytes, against `tests/golden/features.npz` by `make_features.py`."""

import make_features
import numpy as np

from pipeline import run
from transforms.audioset.example import decode_example
from transforms.storage.tfrecord import read_records
from transforms.vggish.postprocess import PcaParams, encode_pca_params


def test_a_file_becomes_the_golden_bytes(golden, tmp_path):
    (tmp_path / "clip.wav").write_bytes(make_features.wav())
    (tmp_path / "pca.npz").write_bytes(encode_pca_params(PcaParams(*make_features.pca())))
    assets = ["--weights=random:0", f"--pca_params={tmp_path}/pca.npz"]
    where = [f"--input={tmp_path}/clip.wav", f"--output={tmp_path}/out"]
    assert run.run(["--runner=FnApiRunner", *assets, *where]) == 0
    (shard,) = (tmp_path / "out" / "train").glob("*.tfrecord")
    with shard.open("rb") as file:
        (record,) = read_records(file)
    with np.load(golden / "features.npz") as expected:
        np.testing.assert_array_equal(decode_example(record, "train")[1], expected["codes"])
        assert expected["codes"].shape == (3, 128) and np.ptp(expected["codes"]) > 200

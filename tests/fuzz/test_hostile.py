"""Malicious inputs: no name leads out of the output folder, and no file is executed."""

import ast
import io
import json
import pickle
import sys
import tarfile
from pathlib import Path

import making
import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.cli.options import parse_options
from transforms.audio_shards.items import ShardClip, ShardFault
from transforms.audio_shards.read_tar import read_tar
from transforms.audioset.layout import Sharding, shard_path
from transforms.audioset.names import video_id_of
from transforms.audioset.segments import parse_segments
from transforms.errors import ClipError, Reason, SettingError
from transforms.inputs.input_clips import shard_clips
from transforms.storage.files import write_atomic
from transforms.vggish.checkpoint import read_weights
from transforms.vggish.postprocess import read_pca_params

ROOT = Path(__file__).resolve().parents[2]
NAMES = [
    "../../etc/x",
    "/abs",
    "a\0b",
    "..",
    ".",
    "./../x",
    "..\\..\\x",
    "C:\\x",
    "~/x",
    "%2e%2e%2fx",
    "*?",
    "\n",
    "\u2028\u202e",
    "gs://bucket/x",
    "x" * 100_000,
]


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def tar_clips(name: str) -> list[tuple[str, bytes]]:
    """Return a tar with the name as a member's name and as an id in a JSON."""
    return [
        (f"{name}.wav", b"1"),
        ("safe.json", json.dumps({"video_id": name}).encode()),
        ("safe.wav", b"2"),
    ]


def ids_of(name: str) -> list[str]:
    """Return the ids that each kind of input makes of a name."""
    values = {"video_id": name, "audio": b"1"}
    shards = [
        ("tar", making.tar(tar_clips(name), format=tarfile.PAX_FORMAT)),
        ("tar", making.tar(tar_clips(name), format=tarfile.GNU_FORMAT)),
        ("tfrecord", making.tfrecord([making.example(values)])),
        ("parquet", making.parquet({field: [value] for field, value in values.items()})),
    ]
    items = [item for shard in shards for item in making.read(*shard)]
    ids = [clip.video_id for clip in making.clips(items)]
    assert ids.count(name) >= 4, "as it is in JSON, TFRecord and Parquet"
    try:
        ids += [segment.video_id for segment in parse_segments([f'"{name}", 0, 1, ""'], "eval", {}, "a.csv")]
    except SettingError:
        # csv refuses NUL before Python 3.11.
        has_nul = "\0" in name and sys.version_info < (3, 11)
        assert name == "\n" or len(name) > 1_000 or has_nul
    return [*ids, video_id_of(name) or "none", video_id_of(f"/data/{name}.wav") or "none"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20]))
@pytest.mark.parametrize("sharding", [Sharding(), Sharding(10)], ids=["audioset", "hash"])
def test_no_id_leaves_the_output(name, sharding, tmp_path):
    output = tmp_path / "a" / "b" / "output"
    for video_id in ids_of(name):
        path = shard_path("eval", sharding.shard_name("eval", video_id))
        write_atomic(FileSystems.join(str(output), *path.split("/")), b"features")
    written = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert written and all(path.parent == output / "eval" for path in written)
    assert all(path.name.endswith(".tfrecord") for path in written)


@pytest.mark.parametrize("split", [name for name in NAMES if name != "x" * 100_000] + ["_run", "-x", ""])
def test_no_split_of_a_shard_leaves_the_output(split):
    with pytest.raises(ClipError) as caught:
        shard_clips("a.tar", ShardClip(0, "a", b"1", split=split), "eval", None, None)
    assert caught.value.reason is Reason.BAD_RECORD


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../" * 40 + "etc/passwd", "a.wav", "."])
def test_no_link_and_no_device_of_a_tar_is_followed(kind, target):
    header = tarfile.TarInfo("a.wav")
    header.type, header.linkname = kind, target
    for file in (making.Pipe([header.tobuf() + bytes(1024)]), io.BytesIO(header.tobuf() + bytes(1024))):
        (bad,) = read_tar(file, making.COLUMNS)
        assert (
            isinstance(bad, ShardFault) and bad.reason is Reason.BAD_RECORD and "'a.wav' is a" in bad.message
        )


def test_a_config_cannot_run_anything(tmp_path):
    config, made = tmp_path / "config.yaml", tmp_path / "made"
    for document in (
        f"!!python/object/apply:os.system ['touch {made}']",
        f"input: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{made}']]",
        "!!python/name:os.system",
        "!!python/module:os",
    ):
        config.write_text(document)
        with pytest.raises(SettingError) as caught:
            parse_options([f"--config={config}", "--input=a", "--output=b"])
        message = str(caught.value)
        assert str(config) in message and "could not determine a constructor" in message
        assert len(message.splitlines()) == 1
    assert not made.exists()


def test_pca_params_are_never_unpickled(tmp_path):
    made, file = tmp_path / "made", io.BytesIO()
    np.savez(file, pca_eigen_vectors=np.eye(128), pca_means=np.array([Trap(made)] * 128, dtype=object))
    array = io.BytesIO()
    np.save(array, np.array([Trap(made)], dtype=object))
    for data in (file.getvalue(), array.getvalue(), pickle.dumps(Trap(made))):
        with pytest.raises(
            SettingError, match=r"PCA parameters evil\.npz: not an \.npz file \(.*allow_pickle"
        ):
            read_pca_params(io.BytesIO(data), "evil.npz")
    assert not made.exists()
    pickle.loads(pickle.dumps(Trap(made)))
    assert made.exists(), "the trap works"


@pytest.mark.parametrize("name", ["a.weights.h5", "a.ckpt", "a.pkl"])
def test_weights_are_never_unpickled(name, tmp_path):
    made, path = tmp_path / "made", tmp_path / name
    path.write_bytes(pickle.dumps(Trap(made)))
    with pytest.raises(SettingError, match="cannot be read as a checkpoint"):
        read_weights(str(path))
    assert not made.exists()


def test_no_source_unpickles_or_evaluates_data():
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "eval", "exec"}
    for path in [*ROOT.glob("transforms/**/*.py"), *ROOT.glob("pipeline/*.py"), *ROOT.glob("examples/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id]
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
            assert not forbidden & {name.split(".")[0] for name in names}, path


def test_an_id_of_any_length_gives_a_short_shard_name():
    for video_id in ("\U0010ffff" * 1_000, "/" * 1_000, "\udcff" * 1_000):
        assert len(Sharding().shard_name("eval", video_id).encode()) < 50

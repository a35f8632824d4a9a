"""The inputs that the adversary adds in groups: small files that share ids with other groups."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from sounds import write_noise

from transforms.storage.tfrecord import frame_records

GROUPS = "abcde"
# Two versions; the second has other labels.
SEGMENTS = {
    1: 'xa1, 0, 1, "/m/a"\nxb1, 0, 1, "/m/b"\nxa2, 0, 1, "/m/a,/m/b"\nno, 0, 1, "/m/a"\n',
    2: 'xa1, 0, 1, "/m/b"\nxb1, 0, 1, "/m/b"\nxa2, 0, 1, "/m/a"\nno, 0, 1, "/m/a"\n',
}
LABELS = "index,mid,display_name\n0,/m/a,A\n7,/m/b,B\n"


class Pool:
    """Creates all inputs once, and copies groups of them into a corpus.

    | group | files |
    |---|---|
    | a | a file that sorts first and is not audio until it is repaired; a recording |
    | b | recordings, one of them with an odd name |
    | c | a copy of a file of b, another recording with an id of a, a clip that is too short |
    | d | another format, a truncated file, an id that begins with a dash |
    | e | a tar and a truncated TFRecord, with ids of other groups, and one id twice |
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._store = store = folder / "store"
        self.corpus = folder / "corpus"
        seeds = iter(range(100))

        def noise(name: str, duration_s: float = 1.0) -> Path:
            return write_noise(store / name, duration_s, seed=next(seeds))

        self._repaired = noise("repaired.wav")
        noise("a/xb1.wav", 2.0)
        (store / "a" / "xa1.wav").write_text("no audio")
        shared = noise("b/xa1.wav")
        noise("b/xa2.wav", 1.2)
        noise("b/o[d]d *ü\n'.wav")
        (store / "c").mkdir()
        shutil.copy(shared, store / "c" / "xa1.wav")
        noise("c/xb1.wav")
        noise("c/short.wav", 0.5)
        noise("d/xa2.flac")
        cut = noise("d/cut.flac", 3.0)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        noise("d/-y.wav")
        self._pack(noise)
        for version, text in SEGMENTS.items():
            (folder / f"segments{version}.csv").write_text(text)
        (folder / "labels.csv").write_text(LABELS)

    def _pack(self, noise: Callable[..., Path]) -> None:
        (self._store / "e").mkdir()
        with tarfile.open(self._store / "e" / "p.tar", "w") as tar:
            for name in ("1/xa1.wav", "2/xa1.wav", "3/zz.wav"):
                data = noise(f"parts/{name}").read_bytes()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        records = []
        for name in ("xb1", "xc", "xd"):
            example = tf.train.Example()
            for key, value in (
                ("video_id", name.encode()),
                ("audio", noise(f"parts/{name}.wav").read_bytes()),
            ):
                example.features.feature[key].bytes_list.value.append(value)
            records.append(example.SerializeToString(deterministic=True))
        data = frame_records(records)
        (self._store / "e" / "q.tfrecord").write_bytes(data[: -len(records[-1]) // 2])

    def clear(self) -> None:
        shutil.rmtree(self.corpus, ignore_errors=True)
        self.corpus.mkdir()

    def add(self, group: str) -> None:
        shutil.copytree(self._store / group, self.corpus / group)

    def repair(self) -> Path:
        """Replaces the first file of the first group by a recording; returns its path."""
        path = self.corpus / "a" / "xa1.wav"
        shutil.copy(self._repaired, path)
        return path

    @property
    def is_repaired(self) -> bool:
        path = self.corpus / "a" / "xa1.wav"
        return path.exists() and path.stat().st_size == self._repaired.stat().st_size

"""Shards with something odd in them, in a run: what is written, what is rejected, and the account."""

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from sounds import noise
from trial_runs import REJECTED, TRIAL, json_lines, read

from pipeline import run

sys.path.append(str(Path(__file__).resolve().parents[1] / "audio_shards"))
import making

pytestmark = pytest.mark.usefixtures("stand_in_network")

LONG = "x" * 100_000


def wav(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(1.2, seed=seed), 16_000, format="WAV")
    return file.getvalue()


def one_hot(*indices: int) -> list[int]:
    return [int(index in indices) for index in range(527)]


def linked() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:bz2") as archive:
        for name, target, kind in [
            ("base.wav", "", tarfile.REGTYPE),
            ("hard.wav", "base.wav", tarfile.LNKTYPE),
            ("soft.wav", "base.wav", tarfile.SYMTYPE),
            ("out.wav", "/etc/passwd", tarfile.SYMTYPE),
        ]:
            header = tarfile.TarInfo(name)
            header.type, header.linkname, header.size = kind, target, 0 if target else len(wav(0))
            archive.addfile(header, io.BytesIO(wav(0)))
    return file.getvalue()


def labelled(video_id: str, **values) -> list[tuple[str, bytes]]:
    member = values.pop("member", video_id)
    return [
        (f"{member}.json", json.dumps({"video_id": video_id, **values}).encode()),
        (f"{member}.wav", wav(1)),
    ]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> tuple[dict, list[dict], dict]:
    """(id -> segment and bytes, rejects, account) of a run over all shards."""
    folder = tmp_path_factory.mktemp("odd")
    shards = {
        "linked.tar.bz2": linked(),
        "unsorted.tar.zst": making.PACKED["zst"](
            making.tar(
                [("a.json", b'{"labels": [1]}'), ("b.wav", wav(2)), ("a.wav", wav(2)), ("b.json", b"{}")]
            )
        ),
        "labels.tar.xz": making.PACKED["xz"](
            making.tar(
                [
                    *labelled("hot", labels=one_hot(3, 137)),
                    *labelled("warm", labels=[0, 1, 1]),
                    *labelled("split", split="s" * 300),
                    *labelled(LONG, member="long"),
                    ("bad.json", b"{"),
                    ("bad.wav", wav(3)),
                ]
            )
        ),
        "nothing.tar": making.tar([("README", b"words"), ("only.txt", b"words")]),
        "views.parquet": making.parquet(
            {
                "video_id": pa.array(["view", "none"], pa.string_view()),
                "audio": pa.array([wav(4), None], pa.binary_view()),
            }
        ),
        "bomb.parquet": making.parquet(
            {"video_id": ["bomb"], "audio": [bytes(50_000_000)]}, compression="zstd"
        ),
    }
    for name, shard in shards.items():
        (folder / name).write_bytes(shard)
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.writestr("a.wav", wav(5))
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, pa.schema([])):
        pass
    output = folder.parent / "features"
    assert run.run([*TRIAL, f"--input={folder}/*", f"--output={output}"]) == 0
    account = json.loads((output / "_run" / "manifest.json").read_text())["account"]
    return read(output), json_lines(output / "_run" / REJECTED), account


def test_readable_clips_have_records(outcome):
    records, _, account = outcome
    assert set(records) == {"base", "hard", "soft", "hot", LONG, "view"}
    assert account["written"] == {"train": 6}
    assert records["hot"][0].labels == (3, 137)
    for video_id in ("hard", "soft"):
        np.testing.assert_array_equal(records[video_id][1], records["base"][1])


def test_the_others_are_rejected_and_the_account_is_balanced(outcome):
    _, rejects, account = outcome
    found = {(Path(row["file"]).name, row["id"], row["reason"]) for row in rejects}
    assert found == {
        ("linked.tar.bz2", "out", "bad_record"),
        ("unsorted.tar.zst", "a", "bad_record"),
        ("unsorted.tar.zst", "b", "bad_record"),
        ("labels.tar.xz", "warm", "bad_record"),
        ("labels.tar.xz", "split", "bad_record"),
        ("labels.tar.xz", "bad", "bad_record"),
        ("nothing.tar", "only", "bad_record"),
        ("views.parquet", "none", "bad_record"),
        ("bomb.parquet", "", "bad_record"),
        ("packed.zip", "", "unsupported"),
        ("data.arrow", "", "unsupported"),
    }
    assert account["balanced"] and len(rejects) == 13  # of a and b the audio and the JSON each

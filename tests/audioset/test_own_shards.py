import pytest

from transforms.audioset.own_shards import encode_own_shards, is_note, note_name, noted_shard, own_shards


@pytest.mark.parametrize(
    "split, name", [("a-b.c_d", "x=y"), ("train", "train-00000-of-00010"), ("s", "%2F=")]
)
def test_the_name_of_a_note_contains_its_shard(split, name):
    assert is_note(note_name(split, name))
    assert noted_shard(note_name(split, name)) == f"{split}/{name}.tfrecord"


def found(files: dict[str, bytes]) -> frozenset[str] | None:
    return own_shards(files, files.__getitem__)


def test_shards_are_those_of_both_lists_and_of_all_notes():
    files = {
        "shards.jsonl": encode_own_shards(["train/ab.tfrecord", "train/é\n.tfrecord"]),
        "own-shards.jsonl": encode_own_shards(["train/ab.tfrecord", "eval/x.tfrecord"]) + b"\n",
        note_name("eval", "yz"): b"",
    }
    assert found(files) == {
        *("train/ab.tfrecord", "train/é\n.tfrecord", "eval/x.tfrecord", "eval/yz.tfrecord"),
    }
    assert found({"own-shards.jsonl": b""}) == frozenset()


def test_without_lists_and_notes_the_shards_are_unknown():
    assert found({}) is None and found({"manifest.json": b"", "before-none": b"", "x=before-": b""}) is None


@pytest.mark.parametrize("line", [b"{", b"[]", b"{}", b'{"path": 1}', b"\xff", b"[" * 100_000])
def test_a_malformed_list_is_an_error_with_its_name_and_line(line):
    with pytest.raises(ValueError, match=r"^shards\.jsonl, line 2: not a shard"):
        found({"shards.jsonl": encode_own_shards(["a/b.tfrecord"]) + line})


def test_a_list_is_sorted():
    assert encode_own_shards(["b", "a"]) == encode_own_shards(["a", "b"]) == b'{"path": "a"}\n{"path": "b"}\n'

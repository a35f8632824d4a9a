import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.errors import OutputError, Reason
from transforms.features.assemble_clips import AssembledClip, Decisions
from transforms.features.displaced import find_displaced
from transforms.features.folder_shards import ShardNotes
from transforms.features.open_shard import OpenShard


def write(folder, file: str, value: int) -> None:
    """Make the input the source of the record, as a run does before it is killed."""
    (folder / file).write_bytes(bytes([value]))
    segment = Segment("train", "ab1", 0.1, 1.1)
    record = encode_example(segment, np.full((1, 128), value, np.uint8))
    chunk = ClipChunk(str(folder / file), None, "train", "ab1", 0.1, 0, segment)
    shard = OpenShard(str(folder), "train", "ab", ShardNotes(str(folder)))
    shard.read()
    shard.write(Decisions([AssembledClip(chunk, record)]))


@pytest.fixture
def replaced(tmp_path):
    """A folder in which a killed run replaced the record of b.wav by that of a.wav."""
    write(tmp_path, "b.wav", 1)
    ShardNotes(str(tmp_path)).begin(["train/ab.tfrecord"])
    write(tmp_path, "a.wav", 2)
    return tmp_path


def test_an_input_whose_record_was_replaced_is_a_duplicate(replaced):
    (clip,) = find_displaced(str(replaced))
    assert clip.key == ("train", "ab1", 100) and clip.start_s == 0.1
    assert (clip.file, clip.reason) == (f"{replaced}/b.wav", Reason.DUPLICATE) and clip.sha256
    assert clip.message == f"{replaced}/a.wav is this clip already; it sorts first"


def test_an_input_that_is_gone_or_sorts_first_is_not_a_duplicate(replaced):
    (replaced / "b.wav").unlink()
    assert find_displaced(str(replaced)) == []
    ShardNotes(str(replaced)).begin(["train/ab.tfrecord"])
    write(replaced, "c.wav", 3)
    assert find_displaced(str(replaced)) == []


def test_new_shards_and_folders_without_notes_have_no_duplicates(tmp_path):
    assert find_displaced(str(tmp_path)) == []
    write(tmp_path, "a.wav", 1)
    assert find_displaced(str(tmp_path)) == []


def test_a_damaged_note_is_an_error_with_a_remedy(replaced):
    (note,) = (replaced / "_run").glob("before-*")
    note.write_bytes(note.read_bytes()[:-1])
    with pytest.raises(OutputError, match=r"is damaged or cannot be read .*delete it and run"):
        find_displaced(str(replaced))

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from transforms.clips import RejectedClip
from transforms.errors import OutputError, Reason
from transforms.inputs import input_list
from transforms.inputs.input_list import Input, InputList, ListInputs, RejectFolders, write_input_list
from transforms.storage.listing import NOT_UTF8

FILES = [(f"/a/{n}é\n.wav", n) for n in range(5)]
FAULTS = [("/locked", "Permission denied"), ("/odd", NOT_UTF8)]


def outputs(source) -> list[Input]:
    read = input_list._read_list if isinstance(source, InputList) else input_list._list_glob
    return [found for path in getattr(source, "paths", source) for found in read(path)]


@pytest.mark.parametrize(("per_file", "count"), [(10, 1), (7, 1), (6, 2), (3, 3)])
def test_a_list_is_read_back_whatever_the_number_of_its_files(tmp_path, monkeypatch, per_file, count):
    monkeypatch.setattr(input_list, "_FILE_INPUTS", per_file)
    listed = write_input_list(f"{tmp_path}/inputs", FILES, FAULTS)
    assert listed == InputList(f"{tmp_path}/inputs", count)
    names = [f"inputs-{number:05d}-of-{count:05d}.jsonl" for number in range(count)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert outputs(listed) == [Input(*file) for file in FILES] + [Input(path, 0, why) for path, why in FAULTS]


def test_an_empty_list_is_one_empty_file(tmp_path):
    listed = write_input_list(f"{tmp_path}/inputs", [], [])
    assert listed.count == 1 and outputs(listed) == []


def test_a_list_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_input_list(f"{tmp_path}/file/inputs", FILES, [])


def test_globs_and_lists_give_the_same_inputs(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"123")
    (tmp_path / "gone").symlink_to("/nowhere/at all")
    cause = "leads to /nowhere/at all, which does not exist"
    files, faults = [(f"{tmp_path}/a.wav", 3)], [(f"{tmp_path}/gone", cause)]
    expected = [Input(*files[0]), Input(f"{tmp_path}/gone", 0, cause)]
    assert [found.is_file for found in expected] == [True, False]
    assert outputs([f"{tmp_path}/*/x"])[0].fault == cause
    listed = write_input_list(f"{tmp_path}/lists/inputs", files, faults)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        inputs = pipeline | ListInputs(listed)
        assert_that(inputs, equal_to(expected), label="inputs")
        twice = (inputs, inputs) | beam.Flatten()
        rejected = twice | RejectFolders("eval", "stage")
        message = f"cannot be listed ({cause}), so the files in it are not read"
        where = ("eval", "", 0.0, f"{tmp_path}/gone", None)
        clip = RejectedClip(*where, "stage", Reason.UNREADABLE, message)
        assert_that(rejected, equal_to([clip]), label="rejected")


def test_a_path_that_is_not_utf8_is_rejected_with_its_own_message():
    clip = input_list._rejected_folder(("/odd", NOT_UTF8), "eval", "stage")
    assert (clip.message, clip.video_id, clip.is_folder) == (NOT_UTF8, "", True)

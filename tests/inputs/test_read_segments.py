import pytest

from transforms.audioset.segments import Segment
from transforms.errors import SettingError
from transforms.inputs.read_segments import SegmentFiles, read_label_indices, read_label_names


@pytest.fixture
def labels(tmp_path) -> str:
    path = tmp_path / "labels.csv"
    path.write_text('\ufeffindex,mid,display_name\n0,/m/a,"A, b"\n7,/m/b,B\n')
    return str(path)


def segments(tmp_path, labels: str, text: str) -> SegmentFiles:
    path = tmp_path / "segments.csv"
    path.write_text(text)
    return SegmentFiles.of([("eval", str(path)), ("train", str(path))], labels)


def test_segments_of_all_files_are_in_one_table(tmp_path, labels):
    files = segments(tmp_path, labels, '# YTID\nid1, 0, 10, "/m/b,/m/a"\n')
    assert list(files.table()) == [Segment(split, "id1", 0.0, 10.0, (0, 7)) for split in ("eval", "train")]
    assert files.table() is files.table()


def test_files_that_changed_are_read_again(tmp_path, labels):
    before = segments(tmp_path, labels, 'id1, 0, 10, "/m/b"\n')
    assert len(before.table()) == 2
    after = segments(tmp_path, labels, 'id2, 0, 10, "/m/b"\n')
    assert after.sha256 != before.sha256 and {s.video_id for s in after.table()} == {"id2"}
    with open(labels, "a") as file:
        file.write("8,/m/c,C\n")
    assert SegmentFiles.of(after.files, labels).sha256 != after.sha256
    assert SegmentFiles.of(after.files[:1], labels).sha256 != SegmentFiles.of(after.files[1:], labels).sha256


def test_only_mids_name_the_labels_of_segments(tmp_path, labels):
    with pytest.raises(SettingError, match="label 'B' is not among the 2 classes"):
        segments(tmp_path, labels, 'id1, 0, 10, "B"\n').table()


def test_class_labels_are_read_by_mid_and_display_name(labels):
    assert read_label_indices(labels) == {"/m/a": 0, "A, b": 0, "/m/b": 7, "B": 7}
    assert read_label_indices(labels, display_names=False) == {"/m/a": 0, "/m/b": 7}
    assert read_label_names(labels) == {0: "A, b", 7: "B"}


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "cannot be read .*; check the path"), (b"\xff", "is not UTF-8 text .*save it")],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, labels, data, message):
    path = tmp_path / "bad.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingError, match=rf"class labels .*bad\.csv: {message}"):
        read_label_indices(str(path))
    with pytest.raises(SettingError, match=rf"segments .*bad\.csv: {message}"):
        SegmentFiles.of([("eval", str(path))], labels).table()

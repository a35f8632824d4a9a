import hashlib
from dataclasses import replace

import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.features.check_shard import CheckShard, ShardReport, Totals
from transforms.features.existing_records import hash_values
from transforms.features.record_index import RecordReader, hash_clip
from transforms.storage.tfrecord import frame_records
from transforms.vggish.params import Framing

FIRST = Segment("train", "ab1", 0.0, 2.0, (3,))
SECOND = Segment("train", "ab2", 1.0, 3.0)
FRAMES = np.zeros((2, 128), np.uint8)
FRAMES[0, :3] = 255, 255, 7


def shard(tmp_path, *clips, name: str = "ab", split: str = "train") -> str:
    path = tmp_path / split / f"{name}.tfrecord"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(frame_records(encode_example(segment, frames) for segment, frames in clips))
    return str(path)


def problems(path: str, **options) -> list[str]:
    report = CheckShard(**options)(path)
    assert all(problem.startswith(path) for problem in report.problems)
    return [problem.removeprefix(path) for problem in report.problems]


def test_a_shard_without_problems_is_counted_hashed_and_indexed(tmp_path):
    path = shard(tmp_path, (FIRST, FRAMES), (SECOND, FRAMES))
    report = CheckShard(strict=True, indexed=True)(path)
    assert (report.problems, report.records, report.frames, report.duration_s) == ([], 2, 4, 4.0)
    assert (report.bytes_total, report.bytes_at_0, report.bytes_at_255) == (512, 506, 4)
    assert report.kinds == {"quantized": 2}
    with open(path, "rb") as file:
        data = file.read()
    assert (report.size_bytes, report.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert report.rows["key"].tolist() == [hash_clip(FIRST), hash_clip(SECOND)]
    assert report.rows["labels"].tolist() == [hash_values((3,)), hash_values(())]
    assert report.rows["end_s"].tolist() == [2.0, 3.0]
    with RecordReader() as records:
        found = [records.read(path, offset)[0] for offset in report.rows["offset"].tolist()]
    assert found == [FIRST, SECOND]


def test_a_report_has_an_index_only_if_it_is_asked_for(tmp_path):
    assert len(CheckShard()(shard(tmp_path, (FIRST, FRAMES))).rows) == 0


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        ([(FIRST, FRAMES), (FIRST, FRAMES)], ": 'ab1' at 0.0 s occurs 2 times"),
        ([(replace(FIRST, video_id="xb1"), FRAMES)], ", record 0: 'xb1' belongs in xb.tfrecord"),
        ([(FIRST, FRAMES[:0])], ", record 0: 'ab1' has 0 frames; 2.000 s allow 1 to 2"),
        ([(FIRST, FRAMES), (SECOND, FRAMES.repeat(2, axis=0))], ", record 1: 'ab2' has 4 frames; "),
        ([(FIRST, FRAMES[:, :127])], ", record 0: frame 0 has bytes [127]"),
    ],
)
def test_problems_of_records(tmp_path, clips, message):
    (found,) = problems(shard(tmp_path, *clips))
    assert found.startswith(message)


def test_a_clip_below_a_frame_may_have_one_if_short_clips_are_padded(tmp_path):
    for end_s, frames in ((0.2, 1), (0.2, 2)):
        path = shard(tmp_path, (replace(FIRST, end_s=end_s), FRAMES[:frames]))
        assert "0.200 s allow 1 to 0" in problems(path)[0]
        assert problems(path, pads_short=True) == (
            [] if frames == 1 else [", record 0: 'ab1' has 2 frames; 0.200 s allow 1 to 1"]
        )


def test_the_order_of_records_matters_only_if_the_check_is_strict(tmp_path):
    path = shard(tmp_path, (SECOND, FRAMES), (FIRST, FRAMES))
    assert problems(path) == []
    assert problems(path, strict=True) == [": records are not in order of id and start time"]


def test_the_number_of_frames_follows_the_framing(tmp_path):
    path = shard(tmp_path, (FIRST, FRAMES.repeat(2, axis=0)))
    assert len(problems(path)) == 1 and problems(path, framing=Framing(hop_s=0.48)) == []


def test_numbered_shards_and_splits_are_checked_by_name(tmp_path):
    wrong = shard(tmp_path, (FIRST, FRAMES), name="train-00001-of-00002")
    right = shard(tmp_path, (FIRST, FRAMES), name="train-00000-of-00002")
    assert sorted(map(len, (problems(wrong), problems(right)))) == [0, 1]
    odd = shard(tmp_path, (replace(FIRST, split="-x"), FRAMES), split="-x")
    assert problems(odd) == [
        ": split '-x': a split names a folder; give letters, digits, '_', '.', '-', "
        "beginning with a letter or digit"
    ]


def test_a_damaged_shard_is_hashed_to_its_end_and_a_missing_one_is_a_problem(tmp_path):
    path = shard(tmp_path, (FIRST, FRAMES), (SECOND, FRAMES))
    with open(path, "r+b") as file:
        file.write(b"x")
        file.seek(0)
        data = file.read()
    report = CheckShard()(path)
    assert report.records == 0 and report.sha256 == hashlib.sha256(data).hexdigest()
    assert "the rest of the shard is not read" in report.problems[0]
    assert problems(f"{tmp_path}/train/zz.tfrecord")[0].startswith(": cannot be read (")


def test_totals_are_added():
    total = Totals()
    for number in (1, 2):
        report = ShardReport(number, number / 2, 3, 4, 5, records=9)
        report.kinds["raw"] += 1
        report.problems.append(str(number))
        total.add(report)
    assert (total.frames, total.duration_s, total.bytes_at_255) == (3, 1.5, 10)
    assert total.kinds == {"raw": 2} and total.problems == ["1", "2"]

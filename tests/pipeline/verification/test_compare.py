import json

import numpy as np
import pytest
from folders import CODES, verified, write_corpus

from pipeline import verify
from pipeline.verification.compare import cosine_similarity
from transforms.audioset.layout import Sharding
from transforms.errors import SettingError


@pytest.mark.parametrize("sharding", [Sharding(), Sharding(1), Sharding(7)])
def test_folders_with_the_same_clips_are_equal_for_any_sharding(tmp_path, capsys, sharding):
    one, other = write_corpus(tmp_path / "one"), write_corpus(tmp_path / "other", sharding=sharding)
    result = verified(capsys, one, f"--against={other}")
    assert result["good"]
    assert result["against"] == {
        "folder": str(other),
        "clips": 40,
        "only_here": 0,
        "only_there": 0,
        "other_times": 0,
        "other_labels": 0,
        "frames": 120,
        "cosine": 1.0,
        "least_cosine": 1.0,
        "values": CODES.size,
        "equal": CODES.size,
        "largest": 0.0,
        "identical": 40,
        "worst": [],
    }


def test_changed_bytes_are_measured_and_are_no_problem(tmp_path, capsys):
    codes = CODES.copy()
    codes[3] = 255 - codes[3]  # the opposite: a cosine of -1
    codes[20:36, 1, 5] ^= 1
    one = write_corpus(tmp_path / "one")
    other = write_corpus(tmp_path / "other", codes, Sharding(3))
    result = verified(capsys, one, f"--against={other}")
    against, worst = result["against"], result["against"]["worst"]
    assert result["good"] and against["identical"] == 23 and len(worst) == 10
    assert (worst[0]["video_id"], worst[0]["equal"]) == ("03-3", 0.0)
    assert worst[0]["cosine"] == pytest.approx(-1) == against["least_cosine"]
    assert worst[1]["largest"] == 1 and 0.999 < worst[1]["least_cosine"] < worst[1]["cosine"] < 1
    assert against["equal"] == np.count_nonzero(codes == CODES)
    assert against["largest"] == np.abs(codes.astype(int) - CODES).max()
    verify.run([str(one), f"--against={other}"])
    printed = capsys.readouterr().out
    assert f"{against['equal'] / CODES.size:.4%} equal" in printed
    assert "train '03-3' at 0.5 s: cosine -1.000000" in printed


def test_clips_that_one_folder_lacks_are_problems(tmp_path, capsys):
    one = write_corpus(tmp_path / "one", skip=(1, 2))
    other = write_corpus(tmp_path / "other", sharding=Sharding(3), skip=(7,))
    result = verified(capsys, one, f"--against={other}")
    assert (result["against"]["only_here"], result["against"]["only_there"]) == (1, 2)
    assert result["problems"][0] == f"{one}/train/07.tfrecord: '07-7' at 0.5 s is not in {other}"
    assert len(result["problems"]) == 3
    assert all(f"is not in {one}" in problem for problem in result["problems"][1:])
    result = verified(capsys, one, f"--against={write_corpus(tmp_path / 'eval', split='eval')}")
    assert result["against"]["clips"] == 0 and len(result["problems"]) == 38 + 40
    assert result["against"]["cosine"] is None and result["against"]["least_cosine"] is None


def test_different_numbers_of_frames_are_problems_and_the_common_frames_are_compared(tmp_path, capsys):
    one = write_corpus(tmp_path / "one")
    result = verified(capsys, one, f"--against={write_corpus(tmp_path / 'other', CODES[:, :2])}")
    assert len(result["problems"]) == 40 and ": 3, but 2 in" in result["problems"][0]
    assert (result["against"]["frames"], result["against"]["identical"]) == (80, 0)
    assert result["against"]["cosine"] == 1.0


def test_the_readable_part_of_a_damaged_folder_is_compared(tmp_path, capsys):
    one, other = write_corpus(tmp_path / "one"), write_corpus(tmp_path / "other")
    path = other / "train" / "05.tfrecord"
    path.write_bytes(path.read_bytes()[:-5])
    result = verified(capsys, one, f"--against={other}")
    assert len(result["problems"]) == 1 and f"'05-35' at 0.5 s is not in {other}" in result["problems"][0]
    assert result["notes"] == [f"{other} has problems too (1): verify it"]


def test_raw_folders_are_compared_by_value_and_not_with_quantized_ones(tmp_path, capsys):
    raw = CODES.astype(np.float32)
    one, other = write_corpus(tmp_path / "one", raw), write_corpus(tmp_path / "other", raw * 2)
    against = verified(capsys, one, f"--against={other}")["against"]
    assert against["cosine"] == pytest.approx(1) and against["largest"] == 255
    with pytest.raises(SettingError, match="contains quantized frames, but"):
        verify.run([str(one), f"--against={write_corpus(tmp_path / 'quantized')}"])


def test_a_missing_folder_cannot_be_compared(tmp_path):
    one = write_corpus(tmp_path / "one")
    with pytest.raises(SettingError, match="none: contains no SPLIT/PREFIX"):
        verify.run([str(one), f"--against={tmp_path}/none"])


def test_the_cosine_of_zero_vectors():
    nothing, something = np.zeros((1, 128), np.float32), np.ones((1, 128), np.float32)
    assert cosine_similarity(nothing, nothing) == 1.0
    assert cosine_similarity(nothing, something) == 0.0


def test_bytes_of_two_ranges_are_compared_by_their_values(tmp_path, capsys):
    # The other folder's range is twice as wide, so that its bytes come from half the values.
    codes = np.full((1, 128), 255, np.uint8)
    codes[:, ::2] = 0
    one = write_corpus(tmp_path / "one", codes[np.newaxis])
    other = write_corpus(tmp_path / "other", np.where(codes, 191, 63)[np.newaxis].astype(np.uint8))
    (other / "_run").mkdir()
    settings = {"quantization_range": [-4.0, 4.0]}
    (other / "_run" / "manifest.json").write_text(json.dumps({"settings": settings, "finished": "now"}))
    assert verified(capsys, one, f"--against={other}")["against"]["cosine"] == pytest.approx(1, abs=1e-4)
    (other / "_run" / "manifest.json").write_text(json.dumps({"settings": {"quantization_range": [4, -4]}}))
    with pytest.raises(SettingError, match=r"manifest\.json: cannot be read \(the quantization range is 4"):
        verify.run([str(one), f"--against={other}"])

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audio_shards.items import (
    FIELDS,
    ShardClip,
    ShardFault,
    make_item,
    parse_columns,
    shortest_float32,
)
from transforms.errors import Reason, SettingError


def test_columns_are_the_fields_own_names_unless_given():
    assert parse_columns() == parse_columns(" ") == {field: field for field in FIELDS}
    columns = parse_columns("video_id = id, audio=audio/encoded")
    assert columns == {field: field for field in FIELDS} | {"video_id": "id", "audio": "audio/encoded"}


def test_a_columns_name_may_have_an_equals_sign():
    assert parse_columns("audio=a=b")["audio"] == "a=b"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("vido_id=id", "did you mean video_id?"),
        ("start=s", "did you mean start_time_seconds?"),
        ("qqq=s", "the fields are video_id, audio"),
        ("", None),
        ("audio=", "give audio=NAME"),
        ("audio", "give audio=NAME"),
        ("audio=a,", "is not a known field"),
        ("audio=a,audio=b", "repeats a field or a name"),
        ("audio=a,video_id=a", "repeats a field or a name"),
    ],
)
def test_a_mistake_in_columns_is_reported_with_a_remedy(text, remedy):
    if remedy is None:
        parse_columns(text)
        return
    with pytest.raises(SettingError) as caught:
        parse_columns(text)
    assert f"--columns={text}: " in str(caught.value) and remedy in str(caught.value)


def test_only_id_and_audio_are_needed():
    assert make_item(5, {"video_id": "a", "audio": b"x"}) == ShardClip(5, "a", b"x")
    assert make_item(5, {"video_id": 0, "audio": b""}) == ShardClip(5, "0", b"")


def test_bytes_are_text_and_one_label_is_a_list_of_one():
    values = {"video_id": "é".encode(), "audio": b"x", "labels": "Speech", "split": b"eval"}
    assert make_item(0, values) == ShardClip(0, "é", b"x", labels=("Speech",), split="eval")
    values["labels"] = [3, b"/m/09x0r", "Dog"]
    assert make_item(0, values).labels == (3, "/m/09x0r", "Dog")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": None}, "has no video_id"),
        ({"video_id": ""}, "has no video_id"),
        ({"video_id": b"\xff"}, "not UTF-8"),
        ({"video_id": "\ud800"}, "not Unicode"),
        ({"video_id": True}, "not text"),
        ({"video_id": ["a"]}, "not text"),
        ({"audio": None}, "has no audio"),
        ({"audio": "a.wav"}, "not the bytes"),
        ({"start_time_seconds": "1"}, "not a number"),
        ({"start_time_seconds": True}, "not a number"),
        ({"start_time_seconds": math.nan}, "not a time"),
        ({"start_time_seconds": -1}, "not a time"),
        ({"end_time_seconds": math.inf}, "not a time"),
        ({"end_time_seconds": 10**400}, "not a time"),
        ({"start_time_seconds": 1e306}, "not a time"),
        ({"end_time_seconds": 0}, "the end must be later"),
        ({"start_time_seconds": 3, "end_time_seconds": 2}, "the end must be later"),
        ({"labels": [1.5]}, "labels has"),
        ({"labels": [True]}, "labels has"),
        ({"labels": [None]}, "labels has"),
        ({"labels": {"a": 1}}, "labels has"),
        ({"split": 3}, "split is"),
    ],
)
def test_values_that_are_not_a_clip_are_a_bad_record_with_the_reason(change, message):
    item = make_item(7, {"video_id": "a", "audio": b"x"} | change)
    assert isinstance(item, ShardFault) and (item.offset, item.reason) == (7, Reason.BAD_RECORD)
    assert message in item.message and len(item.message) < 200
    assert item.video_id == (None if "video_id" in change else "a")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(values=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)))
def test_any_values_are_a_clip_or_a_fault(values):
    item = make_item(0, values)
    assert isinstance(item, (ShardClip, ShardFault))
    assert "\n" not in getattr(item, "message", "")


@given(value=st.integers(0, 10**8).map(lambda n: n / 1000))
def test_a_time_in_milliseconds_survives_float32_if_it_fits(value):
    narrow = float(np.float32(value))
    assert np.float32(shortest_float32(narrow)) == np.float32(value)
    if value < 8_000:
        assert shortest_float32(narrow) == value


@given(value=st.floats(width=32))
def test_the_shortest_float32_is_the_same_float32(value):
    np.testing.assert_equal(np.float32(shortest_float32(value)), np.float32(value))

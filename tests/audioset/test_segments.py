import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audioset.labels import read_class_labels
from transforms.audioset.segments import Segment, SegmentTable, parse_segments, split_of
from transforms.errors import SettingError

CLASSES = {"/m/a": 0, "/m/b": 1, "/t/c": 2}
COMMENTS = [
    "# Segments csv created Sun Mar  5 10:54:31 2017\n",
    "# num_ytids=1, num_segs=1, num_unique_labels=1, num_positive_labels=1\n",
    "# YTID, start_seconds, end_seconds, positive_labels\n",
]
SEGMENTS = st.builds(
    lambda split, video_id, start_ms, length_ms, labels: Segment(
        split, video_id, start_ms / 1000, (start_ms + length_ms) / 1000, tuple(sorted(labels))
    ),
    st.sampled_from(["bal_train", "eval", "unbal_train"]),
    st.text("abY_-1", min_size=1, max_size=3),
    st.integers(0, 5) | st.integers(0, 10**6),
    st.integers(1, 10_000),
    st.frozensets(st.integers(0, 526), max_size=4),
)


def parse(*rows: str, split: str = "eval") -> list[Segment]:
    return list(parse_segments(rows, split, CLASSES, "segments.csv"))


def message_of(*rows: str) -> str:
    with pytest.raises(SettingError) as caught:
        parse(*rows)
    assert "segments.csv" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_released_form_is_parsed():
    rows = [*COMMENTS, '--PJHxphWEs, 30.000, 40.000, "/m/b,/m/a"\n', 'aaaaaaaaaaa, 0.500, 7.250, "/t/c"\n']
    assert parse(*rows) == [
        Segment("eval", "--PJHxphWEs", 30.0, 40.0, (0, 1)),
        Segment("eval", "aaaaaaaaaaa", 0.5, 7.25, (2,)),
    ]


def test_labels_are_sorted_and_each_comes_once():
    assert parse('a, 0, 1, "/t/c,/m/a,/t/c"')[0].labels == (0, 2)


def test_one_label_needs_no_quotes():
    assert parse("a, 0, 1, /m/b")[0].labels == (1,)


def test_segment_may_have_no_labels():
    assert parse('a, 0, 1, ""')[0].labels == ()


def test_spaces_blank_lines_and_windows_line_ends_do_not_matter():
    rows = ["a,0,1,/m/a\r\n", "\r\n", 'b,   0.0,   1.0, "/m/a"\r\n']
    assert [segment.video_id for segment in parse(*rows)] == ["a", "b"]


def test_an_empty_file_has_no_segments():
    assert parse() == parse(*COMMENTS) == []


def test_comment_may_contain_a_quote():
    assert len(parse('# made by me, "draft\n', "a, 0, 1, /m/a\n", "b, 0, 1, /m/a\n")) == 2


@pytest.mark.parametrize(
    "row",
    [
        "a",
        "a, 0",
        "a, 0, 1",
        "a, 0, 1, /m/a, /m/b",
        "a, zero, 1, /m/a",
        "a, 0, , /m/a",
        ", 0, 1, /m/a",
        "a, 1, 1, /m/a",
        "a, 2, 1, /m/a",
        "a, -1, 1, /m/a",
        "a, 0, inf, /m/a",
        "a, 1e306, 1e307, /m/a",
        "a, 1, \v0, /m/a",
        "a, nan, 1, /m/a",
        "a, 0, nan, /m/a",
        "YTID, start_seconds, end_seconds, positive_labels",
    ],
)
def test_the_message_names_the_line_of_a_bad_row(row):
    assert "line 5" in message_of(*COMMENTS, "b, 0, 1, /m/a\n", row + "\n")


@pytest.mark.parametrize(
    "row", ["id1 , 0, 10", '"id1 ", 0, 10', '" id1", 0, 10', "id1\t, 0, 10", "id1\u00a0, 0, 10"]
)
def test_an_id_with_a_space_at_an_end_is_refused(row):
    with pytest.raises(SettingError, match=r"line 1: the id .*id1.* a space.*remove"):
        list(parse_segments([f'{row}, ""'], "eval", {}, "a.csv"))


def test_the_message_names_a_label_that_is_not_a_class():
    message = message_of("a, 0, 1, /m/a\n", 'b, 0, 1, "/m/a,/m/unknown"\n')
    assert "line 2" in message
    assert "/m/unknown" in message


def test_an_unclosed_quote_is_refused():
    # csv takes all rows that follow for one field, and gives up at 128 KB.
    message_of('a, 0, 1, "/m/a\n', *(f'b{number}, 0, 1, "/m/a"\n' for number in range(10_000)))


def test_split_must_name_a_folder():
    with pytest.raises(SettingError, match="_run"):
        parse("a, 0, 1, /m/a", split="_run")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("balanced_train_segments.csv", "bal_train"),
        ("data/unbalanced_train_segments.csv", "unbal_train"),
        ("gs://bucket/csv/eval_segments.csv", "eval"),
    ],
)
def test_released_names_determine_their_split(name, split):
    assert split_of(name) == split


def test_other_names_do_not_determine_a_split():
    with pytest.raises(SettingError, match=r"--segments=SPLIT=mine\.csv"):
        split_of("mine.csv")


def test_key_counts_milliseconds():
    assert Segment("eval", "a", 30.0004, 40.0).key == ("eval", "a", 30_000)


@given(segments=st.lists(SEGMENTS, max_size=30, unique_by=lambda segment: segment.key))
def test_a_table_finds_the_same_as_a_dict_of_sorted_lists(segments):
    table = SegmentTable(segments)
    assert len(table) == len(segments)
    assert set(table) == set(segments)
    by_id: dict[str, list[Segment]] = {}
    for segment in segments:
        by_id.setdefault(segment.video_id, []).append(segment)
    for video_id, own in by_id.items():
        assert table.find(video_id) == sorted(own, key=lambda s: (s.start_s, s.split))
    assert list(table) == [segment for video_id in sorted(by_id) for segment in table.find(video_id)]
    for absent in {"", "a", "zz", "abY-"} - set(by_id):
        assert table.find(absent) == []


@given(segments=st.lists(SEGMENTS, max_size=10, unique_by=lambda segment: segment.key), seed=st.randoms())
def test_order_of_the_rows_does_not_matter(segments, seed):
    shuffled = list(segments)
    seed.shuffle(shuffled)
    assert list(SegmentTable(shuffled)) == list(SegmentTable(segments))


def test_empty_table_finds_nothing():
    assert SegmentTable([]).find("a") == []


def test_same_segment_twice_is_refused_and_named():
    rows = [
        Segment("eval", "abc", 30.0, 40.0),
        Segment("eval", "x", 0.0, 1.0),
        Segment("eval", "abc", 30.0, 35.0),
    ]
    with pytest.raises(SettingError, match=r"'abc' at 30\.0 s is repeated in eval"):
        SegmentTable(rows)


def test_segment_may_be_in_two_splits():
    rows = [Segment("eval", "a", 0.0, 1.0), Segment("bal_train", "a", 0.0, 1.0)]
    assert len(SegmentTable(rows).find("a")) == 2


def test_starts_within_a_millisecond_are_the_same_segment():
    rows = [
        Segment("eval", "a", 1.0, 2.0),
        Segment("bal_train", "a", 1.0001, 2.0),
        Segment("eval", "a", 1.0002, 2.0),
    ]
    assert rows[0].key == rows[2].key
    with pytest.raises(SettingError, match="is repeated in eval"):
        SegmentTable(rows)


@pytest.mark.parametrize(("kind", "count"), [("balanced_train", 22_160), ("eval", 20_371)])
def test_released_segments_are_all_parsed(shared, kind, count):
    folder = shared / "data" / "audioset"
    with open(folder / "class_labels_indices.csv", newline="") as file:
        classes = read_class_labels(file, "classes")
    name = f"{kind}_segments.csv"
    with open(folder / name, newline="") as file:
        table = SegmentTable(parse_segments(file, split_of(name), classes, name))
    assert len(table) == count
    assert {label for segment in table for label in segment.labels} == set(range(527))
    assert all(segment.labels and segment.duration_s < 10.001 for segment in table)

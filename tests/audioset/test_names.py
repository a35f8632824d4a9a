import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audioset.names import compile_id_pattern, find_segments, stem, video_id_of
from transforms.audioset.segments import Segment, SegmentTable
from transforms.errors import SettingError

# As YouTube's, but often of the characters that a name's other parts are made of.
YOUTUBE_IDS = st.one_of(
    st.text(string.ascii_letters + string.digits + "_-", min_size=11, max_size=11),
    st.text("Y_-0123", min_size=11, max_size=11),
)
WHOLE_NAMES = ["{id}", "Y{id}"]
CUT_NAMES = ["{id}_{start}.000", "{id}_{start}", "{id}_{start}_{end}", "{id}_{start}000_{end}000"]
CUT_NAMES += ["Y" + name for name in CUT_NAMES]


def segment(video_id: str, start_s: float = 30.0, end_s: float | None = None) -> Segment:
    return Segment("eval", video_id, start_s, start_s + 10 if end_s is None else end_s)


def find(path: str, *segments: Segment, id_pattern: str | None = None) -> list[tuple[Segment, bool]]:
    pattern = compile_id_pattern(id_pattern) if id_pattern else None
    named = find_segments(path, SegmentTable(segments).find, pattern)
    return [(one.segment, one.is_cut) for one in named]


def file_name(form: str, own: Segment, extension: str = ".wav") -> str:
    return form.format(id=own.video_id, start=int(own.start_s), end=int(own.end_s)) + extension


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("abc.wav", "abc"),
        ("/data/audio/abc.flac", "abc"),
        ("gs://bucket/abc_30.000.wav", "abc_30.000"),
        ("C:\\audio\\abc.wav", "abc"),
        ("abc", "abc"),
        ("a.b/abc", "abc"),
        (".wav", ".wav"),
        ("abc.tar.gz", "abc.tar"),
    ],
)
def test_stem_has_neither_folder_nor_last_extension(path, expected):
    assert stem(path) == expected


@pytest.mark.parametrize("form", WHOLE_NAMES)
def test_name_without_time_gives_all_segments_of_a_whole_recording(form):
    segments = [segment("abc", 30.0), segment("abc", 50.0)]
    assert find(file_name(form, segments[0]), *segments) == [(one, False) for one in segments]


@pytest.mark.parametrize("form", CUT_NAMES)
def test_name_with_a_time_gives_that_segment_already_cut(form):
    segments = [segment("abc", 30.0), segment("abc", 50.0)]
    assert find(file_name(form, segments[1]), *segments) == [(segments[1], True)]


@pytest.mark.parametrize("path", ["other.wav", "abc_40.wav", "abc_30_41.wav", "abc_30.5.wav", "Zabc.wav"])
def test_name_without_a_matching_segment_gives_nothing(path):
    assert find(path, segment("abc")) == []


@pytest.mark.parametrize(
    "video_id", ["a_b", "_", "__a__", "a_30", "a_30_40", "1_2_3", "Yabc", "YY", "-a", "30", "_30"]
)
@pytest.mark.parametrize("form", WHOLE_NAMES + CUT_NAMES)
def test_id_may_look_like_other_parts_of_a_name(video_id, form):
    own = segment(video_id)
    assert find(file_name(form, own), own) == [(own, form in CUT_NAMES)]


def test_fraction_of_a_second_is_kept():
    own = segment("abc", 30.25)
    assert find("abc_30.250.wav", own) == find("abc_30250_40250.wav", own) == [(own, True)]
    assert find("abc_30.wav", own) == []


def test_whole_stem_takes_precedence_over_any_part_of_it():
    whole, part = segment("abc_30", 70.0), segment("abc", 30.0)
    assert find("abc_30.wav", whole, part) == [(whole, False)]
    whole, part = segment("Yabc"), segment("abc")
    assert find("Yabc.wav", whole, part) == [(whole, False)]


def test_two_times_take_precedence_over_an_id_that_ends_like_a_time():
    both, last = segment("abc", 30.0, 40.0), segment("abc_30", 40.0)
    assert find("abc_30_40.wav", both, last) == [(both, True)]
    assert find("abc_30_40.wav", last) == [(last, True)]


def test_a_time_is_read_as_seconds_first_and_then_as_milliseconds():
    seconds, milliseconds = segment("abc", 1_000.0), segment("abc", 1.0)
    assert find("abc_1000.wav", seconds, milliseconds) == [(seconds, True)]


@given(
    ids=st.lists(YOUTUBE_IDS, min_size=1, max_size=5, unique=True),
    start_s=st.integers(0, 40_000),
    form=st.sampled_from(WHOLE_NAMES + CUT_NAMES),
    extension=st.sampled_from([".wav", ".flac", ".m4a"]),
)
def test_every_form_of_name_finds_any_youtube_id(ids, start_s, form, extension):
    segments = [segment(video_id, float(start_s)) for video_id in ids]
    for own in segments:
        assert find("corpus/" + file_name(form, own, extension), *segments) == [(own, form in CUT_NAMES)]


@given(before=st.text(max_size=10), after=st.text(max_size=10), video_id=YOUTUBE_IDS)
def test_any_name_with_an_id_gives_its_segment_once_or_nothing(before, after, video_id):
    own = segment(video_id)
    assert find(before + video_id + after, own) in ([], [(own, False)], [(own, True)])
    assert find(before + after, own) == [] or video_id in before + after
    assert find(f"{before}/{video_id}.wav", own) == [(own, False)]


def test_pattern_finds_the_id_anywhere_in_the_path():
    own = segment("abc")
    assert find("audio/abc/sound.wav", own, id_pattern=r"audio/(?P<id>[^/]+)/") == [(own, False)]
    assert find("other/abc/sound.wav", own, id_pattern=r"audio/(?P<id>[^/]+)/") == []


@pytest.mark.parametrize("path", ["abc@30.wav", "abc@30.000.wav", "abc@30000.wav"])
def test_pattern_with_a_start_names_a_cut_segment(path):
    first, second = segment("abc", 30.0), segment("abc", 50.0)
    pattern = r"(?P<id>[^/@]+)@(?P<start>[\d.]+)\.wav"
    assert find(path, first, second, id_pattern=pattern) == [(first, True)]


def test_pattern_replaces_the_known_forms():
    assert find("Yabc.wav", segment("abc"), id_pattern=r"(?P<id>.+)\.wav") == []


def test_optional_start_that_is_missing_is_not_a_time():
    own = segment("abc")
    assert find("abc.wav", own, id_pattern=r"(?P<id>[^@]+?)(@(?P<start>\d+))?\.wav") == [(own, False)]


@pytest.mark.parametrize("start", ["later", "", "nan", "inf", "1e999", "1e306", "-1e306"])
def test_start_that_is_not_a_number_matches_nothing(start):
    assert find(f"abc@{start}.wav", segment("abc"), id_pattern=r"(?P<id>\w+)@(?P<start>.*)\.wav") == []


def test_time_of_many_digits_matches_nothing():
    for digits in (20, 306, 400):
        assert find(f"abc_{'9' * digits}.wav", segment("abc")) == []


@pytest.mark.parametrize("text", ["(?P<id>", "*", "(?P<id>a)(?P<id>b)"])
def test_pattern_must_be_a_regular_expression(text):
    with pytest.raises(SettingError, match="not a valid regular expression"):
        compile_id_pattern(text)


@pytest.mark.parametrize("text", ["", r"[^/]+\.wav", r"(?P<ID>\w+)"])
def test_pattern_must_have_an_id(text):
    with pytest.raises(SettingError, match="no group named id"):
        compile_id_pattern(text)


def test_id_of_a_clip_by_itself_is_its_stem():
    assert video_id_of("audio/Yabc_30.000.wav") == "Yabc_30.000"


@pytest.mark.parametrize(("path", "video_id"), [("a/x_1.wav", "x"), ("a/_1.wav", None), ("a/x.wav", None)])
def test_id_of_a_clip_by_itself_is_what_the_pattern_finds(path, video_id):
    assert video_id_of(path, compile_id_pattern(r"(?P<id>[^/_]*)_\d")) == video_id

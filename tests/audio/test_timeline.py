import pytest
from media import M4A, OPUS, WMA, contained, decode, lag, rejection_of, sweep

from transforms.audio.timeline import MAX_LATE_S, Timeline
from transforms.errors import ClipError, Reason

FORMS = {
    "mp4": ("mp4", "aac", "fltp"),
    "webm": OPUS,
    "matroska": ("matroska", "aac", "fltp"),
    "asf": WMA,
    "mpegts": ("mpegts", "aac", "fltp"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("delay_s", [0.5, 2])
def test_audio_that_begins_late_in_a_video_has_silence_before_it(form, delay_s):
    source = sweep(48_000, 1, 2)
    decoded, _ = decode(contained(source, 48_000, *FORMS[form], video_s=5, delay_s=delay_s))
    # The muxer's timestamps are in ms, and ADTS in a transport stream does not state the encoder's delay.
    assert lag(decoded, source) / 48_000 == pytest.approx(delay_s, abs=0.002)
    assert not decoded[: round(48_000 * (delay_s - 0.06))].any()


@pytest.mark.parametrize("form", FORMS)
def test_audio_that_begins_with_its_video_has_no_silence_before_it(form):
    source = sweep(48_000, 1, 2)
    alone, _ = decode(contained(source, 48_000, *FORMS[form]))
    with_video, _ = decode(contained(source, 48_000, *FORMS[form], video_s=3))
    assert len(alone) == len(with_video)


@pytest.mark.parametrize("form", ["mp4", "matroska", "mpegts"])
def test_a_file_whose_timestamps_all_begin_late_has_no_silence_before_it(form):
    source = sweep(48_000, 1, 2)
    decoded, _ = decode(contained(source, 48_000, *FORMS[form], delay_s=2))
    assert abs(len(decoded) - len(source)) < 2_100


@pytest.mark.parametrize("form", ["webm", "matroska", "asf", "mpegts", "fragments"])
def test_audio_that_is_missing_in_the_middle_is_corrupt(form):
    container, codec, sample_format = FORMS.get(form, ("mp4", "aac", "fltp"))
    options = {"movflags": "frag_every_frame+empty_moov"} if form == "fragments" else None
    source = sweep(48_000, 1, 2)
    rejection = rejection_of(
        contained(source, 48_000, container, codec, sample_format, options, pause=(1.0, 0.4))
    )
    assert rejection.reason is Reason.CORRUPT
    assert "0.40 s of audio are missing" in str(rejection)
    assert float(str(rejection).split("after ")[-1].split()[0]) == pytest.approx(1, abs=0.1)


def test_a_single_packet_that_is_missing_is_corrupt():
    source = sweep(48_000, 1, 2)
    rejection = rejection_of(contained(source, 48_000, *OPUS, pause=(1.0, 0.02)))
    assert "0.02 s of audio are missing" in str(rejection)


def place(timeline: Timeline, *frames: tuple[float | None, float]) -> list[float]:
    return [timeline.add_frame(start_s, length_s) for start_s, length_s in frames]


def test_rounded_timestamps_are_not_a_gap():
    timeline = Timeline(0.0, has_timestamps=True)
    lengths = [1_024 / 44_100] * 1_000
    frames = [(round(number * length, 3), length) for number, length in enumerate(lengths)]
    assert not any(place(timeline, *frames))


def test_encoder_delay_before_time_0_adds_no_silence():
    timeline = Timeline(-0.007, has_timestamps=True)
    timeline.add_packet(-0.007)
    assert place(timeline, (0.0, 0.0135), (0.014, 0.02)) == [0, 0]


def test_frames_that_a_decoder_drops_add_no_silence():
    timeline = Timeline(0.0, has_timestamps=True)
    timeline.add_packet(0.0)
    assert place(timeline, (0.092, 0.046), (0.139, 0.046), (None, 0.046)) == [0, 0, 0]
    assert timeline.end_s == pytest.approx(0.231)


@pytest.mark.parametrize("origin_s", [0.0, 5.0])
def test_half_a_frame_is_a_late_start_or_a_gap_and_less_is_not(origin_s):
    late, early = Timeline(origin_s, True), Timeline(origin_s, True)
    assert place(late, (origin_s + 0.5, 1.0)) == [0.5]
    assert place(early, (origin_s + 0.4375, 1.0), (origin_s + 1.875, 1.0)) == [0, 0]
    with pytest.raises(ClipError, match=r"0\.50 s of audio are missing, after 2\.88 s"):
        early.add_frame(origin_s + 3.375, 1.0)
    dropped = Timeline(origin_s, True)
    dropped.add_packet(origin_s)
    assert place(dropped, (origin_s + 0.75, 1.0)) == [0]


def test_timestamps_that_go_back_lose_no_samples():
    timeline = Timeline(0.0, has_timestamps=True)
    assert place(timeline, (0.0, 1.0), (0.0, 1.0), (1.0, 1.0)) == [0, 0, 0]


def test_without_timestamps_frames_follow_each_other():
    timeline = Timeline(0.0, has_timestamps=False)
    assert place(timeline, (5.0, 1.0), (9.0, 1.0)) == [0, 0]
    assert timeline.end_s == 2


def test_silence_of_more_than_an_hour_is_corrupt():
    assert place(Timeline(0.0, True), (MAX_LATE_S, 1.0)) == [MAX_LATE_S]
    with pytest.raises(ClipError, match=r"begins 3601\.00 s after the recording") as caught:
        place(Timeline(0.0, True), (MAX_LATE_S + 1, 1.0))
    assert caught.value.reason is Reason.CORRUPT


def test_the_length_of_m4a_is_unchanged():
    decoded, _ = decode(contained(sweep(44_100, 2, 3), 44_100, *M4A))
    assert len(decoded) == 133_120

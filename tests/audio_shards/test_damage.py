"""Any damage causes no exception and no hang, keeps the clips before it, and reports every lost clip."""

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from making import CLIPS, read, shards

SHARDS = shards()
WHOLE = {form: read(*shard) for form, shard in SHARDS.items()}


def ends(form: str) -> list[int]:
    """Return the offset after each clip in the file; [] for compressed files and Parquet."""
    if form == "tfrecord":
        return [*(clip.offset for clip in WHOLE[form][1:]), len(SHARDS[form][1])]
    if form.endswith(".tar"):
        return [clip.offset + 512 + len(clip.audio) for clip in WHOLE[form]]
    return []


@st.composite
def damage(draw) -> tuple[str, int, bytes]:
    """Draw a format, the offset of the first byte that differs, and the damaged shard."""
    form = draw(st.sampled_from(sorted(SHARDS)))
    shard = SHARDS[form][1]
    place = draw(st.integers(0, len(shard) - 1))
    how = draw(st.sampled_from(["flip", "cut", "zeros", "splice", "drop"]))
    length = draw(st.sampled_from([1, 12, 300, 512, 4096]))
    if how == "flip":
        middle = bytes(byte ^ draw(st.integers(1, 255)) for byte in shard[place : place + 1])
        return form, place, shard[:place] + middle + shard[place + 1 :]
    if how == "cut":
        return form, place, shard[:place]
    if how == "zeros":
        return (
            form,
            place,
            shard[:place] + bytes(len(shard[place : place + length])) + shard[place + length :],
        )
    if how == "drop":
        return form, place, shard[:place] + shard[place + length :]
    other = draw(st.sampled_from(sorted(SHARDS)))
    start = draw(st.integers(0, len(SHARDS[other][1]) - 1))
    chunk = SHARDS[other][1][start : start + length]
    return form, place, shard[:place] + chunk + shard[place:]


def content(items) -> list:
    return [dataclasses.replace(item, offset=0) for item in items]


@settings(max_examples=1500)
@given(damage())
def test_clips_before_any_damage_are_returned_unchanged(damaged):
    form, place, shard = damaged
    assume(shard != SHARDS[form][1])
    items = read(SHARDS[form][0], shard)
    before = sum(end <= place for end in ends(form))
    assert items[:before] == WHOLE[form][:before]
    # A TFRecord does not state its number of records, and an empty file is one without records.
    at_boundary = form.startswith("tfrecord") and place == len(shard) and place in (0, *ends(form))
    assert items or at_boundary
    # Checksums cover everything, so each lost or changed clip causes a fault.
    if form in ("tfrecord", "tfrecord.gz", "checked.parquet") and not at_boundary:
        lost = [clip for clip in content(WHOLE[form]) if clip not in content(items)]
        assert not lost or any(hasattr(item, "reason") for item in items)


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["tfrecord", "tar", "parquet"]),
    head=st.binary(max_size=1200),
    form=st.sampled_from(sorted(SHARDS)),
)
def test_every_reader_accepts_any_bytes(kind, head, form):
    for shard in (head, b"\x1f\x8b\x08" + head, head + SHARDS[form][1], SHARDS[form][1]):
        assert len(read(kind, shard)) <= 3 * len(CLIPS)


@pytest.mark.parametrize("form", ["pax.tar", "gnu.tar", "ustar.tar", "tfrecord"])
def test_a_cut_at_any_position_gives_the_clips_before_it_and_one_fault(form):
    kind, shard = SHARDS[form]
    for cut in range(1, ends(form)[-1], 61):
        items = read(kind, shard[:cut])
        before = sum(end <= cut for end in ends(form))
        assert items[:before] == WHOLE[form][:before]
        if form != "tfrecord" or cut not in ends(form):
            assert [item.reason for item in items[before:] if hasattr(item, "reason")] == ["truncated_shard"]

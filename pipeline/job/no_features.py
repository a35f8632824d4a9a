"""Explains in one line why a run produced no features, and how to fix it."""

import json
from collections.abc import Iterator

from pipeline.output.account import Account
from pipeline.output.run_files import REJECTED_LIST, UNMATCHED_LIST, list_files, read_lines
from transforms.audioset.names import stem, video_id_of
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.read_clips import ClipSettings
from transforms.write_account import EXISTING, EXPECTED, FILE_WITHOUT_SEGMENT, WRITTEN
from transforms.write_shards import PackSettings


def has_features(account: Account) -> bool:
    """Returns whether at least one clip of the inputs has features after the run."""
    return bool(account.total(WRITTEN) + account.total(EXISTING))


def why_no_features(
    output: str, settings: ClipSettings | PackSettings, account: Account, done: str = "embedded"
) -> str:
    """Explains why a run produced no features, from the lists that it wrote to `output`.

    No input could be `done`, a verb for the message. `settings` define how inputs become clips.
    """
    if expected := account.total(EXPECTED):
        first = next(_rows(output, REJECTED_LIST))
        return (
            f"none of the inputs ({expected:,}) could be {done} ({account.reasons_text()}); "
            f"{first['file']}: {first['message']}; see {RUN_FOLDER}/{REJECTED_LIST}-*.jsonl"
        )
    for line in _rows(output, UNMATCHED_LIST):
        if line["kind"] == FILE_WITHOUT_SEGMENT:
            return why_no_clips(settings, line["file"], line["id"])
    return "the inputs contain no clips; give other inputs"


def why_no_clips(settings: ClipSettings | PackSettings, path: str, video_id: str | None = None) -> str:
    """Explains why no input gives a clip: the ids in file names or shards do not match.

    `path` is one of the inputs, and `video_id` the id of a clip in it, if it is a shard.
    """
    pattern, segments = settings.id_pattern, settings.segments
    remedy = "give --id_pattern=REGEX with a group 'id' that matches the id in a path"
    if video_id is None:
        video_id = video_id_of(path, pattern)
    if pattern is not None and video_id is None:
        return (
            f"no input gives a clip: --id_pattern={pattern.pattern} finds no id in any path, such as {path}; "
            f"{remedy}"
        )
    if segments is None:
        return f"no input gives a clip, for example {path}; {remedy}"
    wanted = next(iter(segments.table())).video_id
    return (
        f"no segment matches an input: segments have ids such as {wanted!r}, but inputs have ids such as "
        f"{video_id or stem(path)!r} ({path}); {remedy}, or give other --segments"
    )


def _rows(output: str, name: str) -> Iterator[dict]:
    return (json.loads(line) for path in list_files(output, name) for _, line in read_lines(path))

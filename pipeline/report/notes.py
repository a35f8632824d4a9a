"""What a reader of the report should look at first: in words, with the probable cause and the remedy."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pipeline.job.config import Config
from pipeline.output.account import Account
from transforms.audioset.own_shards import RUN_FOLDER
from transforms.errors import Reason
from transforms.features.sample import FrameStatistics
from transforms.printable import counted
from transforms.write_account import EXISTING, EXPECTED, REJECTED

# What each reason for a reject means, and what to do about it.
MEANINGS = {
    Reason.UNREADABLE: "The file system cannot read the file. Check its permissions, then run again.",
    Reason.NOT_AUDIO: "The file is empty, or in a format that no decoder knows.",
    Reason.CORRUPT: "The audio is damaged, or shorter than its header states. Get the file again.",
    Reason.UNSUPPORTED: "The sample rate, number of channels or archive format is not supported.",
    Reason.CRASHED: "The decoder crashes on the file, or hangs. Convert it with another program.",
    Reason.NOT_FINITE: "The audio has samples that are not numbers, or infinite.",
    Reason.OUTSIDE_AUDIO: "The segment begins after the audio ends. Check the segments CSV.",
    Reason.TOO_SHORT: "The clip is shorter than one frame. With --pad_short, in a new folder, it has one.",
    Reason.BAD_RECORD: "A record of a shard is damaged, or lacks its id or audio.",
    Reason.TRUNCATED_SHARD: "The shard is cut off. Copy it again, then run the command again.",
    Reason.NOT_EMBEDDED: "The model fails on this clip, or returns values that are not finite.",
    Reason.DUPLICATE: "Another file has the same clip. Rename one of them, or give --id_pattern.",
}
# With this many uninformative dimensions, an error is more probable than a corpus of similar sounds.
_MANY_STUCK = 20
_SHOWN = 12


class Note(NamedTuple):
    """Something to look at: its kind (`bad`, `warn` or `info`), a heading, and an explanation."""

    kind: str
    title: str
    text: str


def find_notes(config: Config, account: Account, statistics: FrameStatistics | None) -> Iterator[Note]:
    """Yields the notes of a run, the most serious first."""
    if not account.is_balanced:
        yield Note(
            "bad",
            "Clips are missing.",
            "The counts below do not add up. The manifest lists the clips; please report this.",
        )
    if statistics is None and not account.total(REJECTED):
        yield Note(
            "bad",
            "The folder contains no features.",
            "The inputs contain no clips. Check --input, and --segments if it is given.",
        )
    elif statistics is None:
        yield Note(
            "bad", "The folder contains no features.", f"All clips were rejected. {_causes(config, account)}"
        )
    elif config.assets.weights.sha256 is None:
        yield Note(
            "bad",
            f"The weights are random ({config.assets.weights.path}).",
            "The features show that the pipeline works, but say nothing about the sounds. Leave out "
            "--weights to use the released model.",
        )
    if statistics is None:
        return
    if account.reject_fraction > config.options.max_reject_fraction:
        title = f"{account.reject_fraction:.1%} of the clips were rejected."
        yield Note("bad", title, _causes(config, account))
    yield from stuck_notes(statistics)
    if account.total(EXISTING) and account.total(EXISTING) == account.total(EXPECTED):
        yield Note(
            "info",
            "This run had nothing to compute.",
            "All clips were in the folder before, made with the same settings.",
        )


def _causes(config: Config, account: Account) -> str:
    reason, number = max(account.reasons().items(), key=lambda item: (item[1], item[0]))
    lists = f"{config.options.output.rstrip('/')}/{RUN_FOLDER}/rejected-*"
    return (
        f"The most frequent reason is {reason} ({counted(number, 'clip')}): {MEANINGS[Reason(reason)]} "
        f"When the cause is fixed, run the same command again, or give --input_rejects='{lists}'."
    )


def stuck_notes(statistics: FrameStatistics) -> Iterator[Note]:
    """Yields notes on uninformative dimensions: at an end of their range in most frames, or constant."""
    ends = {dimension: f"{value} in {share:.0%}" for dimension, value, share in statistics.stuck()}
    if statistics.counts.sum() > len(statistics.is_constant):  # of one frame, all dimensions are constant
        ends |= {int(dimension): "always the same" for dimension in np.flatnonzero(statistics.is_constant)}
    if not ends:
        return
    names = ", ".join(f"{dimension} ({ends[dimension]})" for dimension in sorted(ends)[:_SHOWN])
    more = f" and {len(ends) - _SHOWN} more" if len(ends) > _SHOWN else ""
    text = (
        "In more than half of the frames they are at an end of their range, or all frames have the same "
        f"value: {names}{more}. "
    )
    if len(ends) >= _MANY_STUCK:
        text += (
            "Probably the weights are not trained, or the PCA parameters belong to other weights: check "
            "--weights and --pca_params."
        )
    else:
        text += "This is normal for silence and for a corpus of very similar sounds."
    kind = "bad" if len(ends) >= _MANY_STUCK else "warn"
    yield Note(kind, f"{counted(len(ends), 'dimension')} of 128 carry little information.", text)

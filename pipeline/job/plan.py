"""The plan of a run: what it would do, and an estimate of its time. It writes nothing."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from statistics import fmean
from typing import Any

from pipeline.cli.text import format_bytes, format_duration, format_table
from pipeline.job.config import Config
from pipeline.job.no_features import why_no_clips
from pipeline.job.trial import Trial, try_clips
from pipeline.output.feature_folder import FeatureFolder
from transforms.audio.decoder import Decoder
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.audio_shards.formats import AUDIO, AUTO
from transforms.audio_shards.sniff import shard_format
from transforms.clip_chunks import cut_recording
from transforms.clips import Clip
from transforms.errors import ClipError
from transforms.extract_examples import open_clip
from transforms.features.existing_records import ExistingRecords
from transforms.features.folder_shards import UnchangedShards, relative_path
from transforms.inputs.input_clips import file_clips
from transforms.printable import counted
from transforms.read_clips import clips_of_file

# Input shards whose clips are counted; audio files whose clips are looked up in the output; recordings per
# input whose length is read.
_SHARDS_COUNTED, _FILES_LOOKED_UP, _RECORDINGS_PER_INPUT = 2, 1_000, 8


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
      inputs, input_bytes: format -> number of files; total size of the files, None for the files of rejects,
        which are not listed.
      clips, is_estimate: number of clips in them, and whether it is extrapolated from some of the inputs.
      existing, existing_is_estimate: number of clips that already have their record, which the run skips; and
        whether it is extrapolated.
      feature_shards: number of feature shards after the run; None if unknown.
      existing_shards: number of feature shards that the output already has.
      overwrites: whether the run deletes them.
      skipped: text on skipped inputs; empty if there are none.
      unlisted: number of folders that cannot be listed; each counts as a reject.
      no_clips: why the inputs contain no clip, and what to do; empty if they contain some.
      trial: result of embedding a few clips.
    """

    inputs: dict[str, int]
    input_bytes: int | None
    clips: int
    is_estimate: bool
    existing: int
    existing_is_estimate: bool
    feature_shards: int | None
    existing_shards: int
    overwrites: bool
    skipped: str
    unlisted: int
    no_clips: str
    trial: Trial

    @property
    def feature_bytes(self) -> float:
        return self.clips * self.trial.record_bytes / self.trial.clips if self.trial.clips else 0.0

    @property
    def wall_s(self) -> float | None:
        """Estimated seconds for the clips without a record; None if the trial could not embed a clip."""
        missing = self.clips - self.existing
        return missing * self.trial.wall_s / self.trial.clips if self.trial.clips else None

    def lines(self) -> list[str]:
        """Returns the plan as text."""
        trial, about = self.trial, "about " if self.is_estimate else ""
        shards = "number unknown until the input shards are read"
        if self.feature_shards is not None:
            shards = counted(self.feature_shards, "shard")
        existing = f"{'about ' if self.existing_is_estimate else ''}{counted(self.existing, 'clip')}, in "
        existing += f"{counted(self.existing_shards, 'shard')}; the run skips them"
        if self.overwrites:
            existing = f"{counted(self.existing_shards, 'shard')}; the run deletes all shards first"
        unlisted = counted(self.unlisted, "folder or name", "folders or names")
        forms = ", ".join(f"{n:,} {form}" for form, n in sorted(self.inputs.items()))
        rows = {
            "inputs": forms + ("" if self.input_bytes is None else f", {format_bytes(self.input_bytes)}"),
            "skipped": self.skipped,
            "unlisted": f"{unlisted} cannot be read and will be rejected" if self.unlisted else "",
            "clips": f"{about}{self.clips:,}" + (f": {self.no_clips}" if self.no_clips else ""),
            "existing": existing if self.existing_shards else "",
            "features": f"{shards}, about {format_bytes(self.feature_bytes)}",
            "trial": "no clip of the first inputs could be embedded",
        }
        if self.wall_s is not None:
            speed = trial.audio_s / trial.wall_s
            rows["trial"] = (
                f"{format_duration(trial.audio_s)} of audio in {trial.wall_s:.1f} s, "
                f"{trial.clips / trial.wall_s:,.3g} clips/s, {speed:,.0f}x real time"
            )
            rows["time"] = f"about {format_duration(self.wall_s)} in one process on this machine"
            if self.existing == self.clips and not self.existing_is_estimate:
                rows["time"] = "no clip is left to embed"
        if trial.rejected:
            reasons = ", ".join(f"{reason} {n}" for reason, n in trial.rejected.items())
            rows["rejected"] = f"in the trial: {reasons}; {trial.first_reject}"
        rows["next"] = "run the same command without --plan; nothing was written"
        return format_table(rows)

    def to_json(self) -> dict[str, Any]:
        return {
            **dataclasses.asdict(self),
            "feature_bytes": round(self.feature_bytes),
            "wall_seconds": self.wall_s and round(self.wall_s, 3),
        }


def make_plan(config: Config) -> Plan:
    """Counts a run's inputs and clips, and embeds some of them for two seconds."""
    inputs, paths, options = config.inputs, config.inputs.paths, config.options
    forms = Counter(_form(config, path) for path in paths)
    files: list[str] = []
    shards: list[str] = []
    for path in paths:
        (files if _form(config, path) == AUDIO else shards).append(path)
    table = config.clips.segments.table() if config.clips.segments else None
    named = (
        clip
        for path in files
        for clip in file_clips(path, config.clips.split, table, config.clips.id_pattern)
    )
    places = Counter((clip.split, config.sharding.shard_name(clip.split, clip.video_id)) for clip in named)
    folder = FeatureFolder.at(options.output)
    records = None
    if folder.shards and not options.overwrite:
        own = UnchangedShards(frozenset(map(relative_path, folder.shards)))
        records = ExistingRecords(options.output, config.sharding, own)

    def count(sampled: Iterable[str]) -> tuple[int, int]:
        """Returns the number of clips in files, and how many of them have a record."""
        clips = existing = 0
        for path in sampled:
            for clip in clips_of_file(path, config.clips):
                clips += 1
                existing += records is not None and records.find(clip) is not None
        return clips, existing

    sampled = files[:: -(-len(files) // _FILES_LOOKED_UP) or 1] if records else []
    in_files, in_shards = count(sampled), count(shards[:_SHARDS_COUNTED])
    per_shard = len(shards) / _SHARDS_COUNTED if len(shards) > _SHARDS_COUNTED else 1.0
    per_recording = _clips_per_recording(config)
    clips = round((places.total() + in_shards[0] * per_shard) * per_recording)
    is_estimate = per_shard > 1 or options.segment_seconds is not None
    share = in_files[1] / in_files[0] if in_files[0] else 0.0
    return Plan(
        inputs=dict(forms),
        input_bytes=sum(inputs.sizes) if options.input else None,
        clips=clips,
        is_estimate=is_estimate,
        existing=round((places.total() * share + in_shards[1] * per_shard) * per_recording),
        existing_is_estimate=records is not None and (is_estimate or len(sampled) < len(files)),
        feature_shards=config.sharding.num_shards or (None if shards else len(places)),
        existing_shards=len(folder.shards),
        overwrites=options.overwrite,
        skipped=inputs.skipped,
        unlisted=len(inputs.problems),
        no_clips="" if clips or not paths else why_no_clips(config.clips, paths[0]),
        trial=try_clips(config),
    )


def _clips_per_recording(config: Config) -> float:
    """Returns into how many clips the run cuts a recording, the mean of some of them."""
    if config.options.segment_seconds is None:
        return 1.0
    with closing(IsolatedDecoder()) as decoder:
        counts = [
            _num_clips(config, clip, decoder)
            for path in config.inputs.some
            for clip in itertools.islice(clips_of_file(path, config.clips), _RECORDINGS_PER_INPUT)
        ]
    return fmean(counts) if counts else 1.0


def _num_clips(config: Config, clip: Clip, decoder: Decoder) -> int:
    segment_s = config.options.segment_seconds
    if segment_s is None or clip.end_s is not None:
        return 1
    try:
        with open_clip(clip) as file:
            return len(cut_recording(file, clip, segment_s, config.valid.framing, decoder))
    except ClipError:
        return 1  # it will be one reject


def _form(config: Config, path: str) -> str:
    given = config.options.input_format
    return shard_format(path, b"") if given == AUTO else given

"""Writes the report from the results of a run and a sample of the features."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from pipeline.cli.progress_display import Sample
from pipeline.cli.text import format_bytes, format_duration
from pipeline.job.config import Config
from pipeline.job.manifest import DISTRIBUTION
from pipeline.job.summary import MIN_RATED_S
from pipeline.output.account import Account
from pipeline.output.run_files import REPORT_FILE, run_path
from pipeline.report import plots
from pipeline.report.examples import ExampleClip, example_clips
from pipeline.report.map import make_map
from pipeline.report.notes import find_notes
from pipeline.report.player import audio_url
from pipeline.report.tables import clip_rows, reject_reasons, reject_rows
from transforms.features.open_shard import ShardFile
from transforms.features.sample import FrameStatistics, SampledClip, sample_clips
from transforms.inputs.read_segments import read_label_names
from transforms.printable import counted, printable
from transforms.redact import shown_text
from transforms.storage.files import write_output
from transforms.write_account import EXISTING, EXPECTED, REJECTED, WRITTEN

# Sampled clips, and clips with their own figures.
_SAMPLE_CLIPS, _EXAMPLES = 2_000, 3
# Different numbers of clips over the time of a run, from which a line shows more than its two ends.
_MIN_STEPS = 5


class Figure(NamedTuple):
    """A figure: its id on the page, title, SVG and caption, and the URL of its sound or an empty string."""

    name: str
    title: str
    svg: str
    caption: str
    sound: str = ""


def write_report(
    config: Config,
    manifest: dict[str, Any],
    account: Account,
    shards: Sequence[ShardFile],
    samples: Sequence[Sample],
    wall_s: float,
) -> None:
    """Writes the report of a run that has ended, with all shards of the folder after it.

    The cost does not grow with the corpus: the report uses a sample of at most 2,000 clips, which is the same
    for the same folder. `samples` of the progress are empty if the workers were on other machines.

    Raises:
      OutputError: the report cannot be written, or a shard cannot be read.
    """
    output = config.options.output
    by_split = defaultdict(list)
    for shard in shards:
        if shard.records:
            by_split[shard.path.split("/")[0]].append(f"{output.rstrip('/')}/{shard.path}")
    clips = sample_clips(by_split, _SAMPLE_CLIPS)
    frames = _all_frames(clips)
    statistics = FrameStatistics.of(frames) if len(frames) else None
    records = Counter({split: n for split, n in manifest["clips"].items() if n})
    labels = config.clips.class_labels
    class_names = read_label_names(labels) if labels else {}

    figures: list[Figure] = []
    if statistics is not None:
        figures += _feature_figures(config, clips, frames, statistics, records)
    html = render_page(
        title=output.rstrip("/").rsplit("/", 1)[-1] or output,
        hop=f"{config.options.example_hop_seconds:g} s",
        when=manifest["started"][:16].replace("T", " ") + " UTC",
        duration=format_duration(wall_s),
        version=manifest["versions"].get(DISTRIBUTION, ""),
        notes=list(find_notes(config, account, statistics)),
        tiles=_tiles(account, shards, wall_s),
        account=_account_rows(account, records),
        sample=_sample_text(clips, sum(records.values())),
        figures=figures,
        map=make_map(clips, class_names) if statistics is not None else None,
        examples=[_example_figure(config, *pair) for pair in enumerate(example_clips(config, _EXAMPLES))],
        clips=clip_rows(clips, class_names),
        clip_count=sum(records.values()),
        reasons=reject_reasons(account),
        rejects=reject_rows(output),
        reject_count=account.total(REJECTED),
        progress=list(_progress_figures(samples)),
        tables=_tables(manifest),
    )
    write_output(run_path(output, REPORT_FILE), html.encode())


def render_page(**values: Any) -> str:
    """Renders page.html with values; strings in them are escaped, whatever they contain."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    folder = resources.files("pipeline.report")
    page, style, script = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    return environment.from_string(page).render(values, style=Markup(style), script=Markup(script))


def _shown(value: Any) -> Any:
    """Makes a string printable and free of secrets; markup, such as the figures, stays unchanged."""
    return printable(shown_text(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _tiles(account: Account, shards: Sequence[ShardFile], wall_s: float) -> list[tuple[str, str, str]]:
    written, rejected, existing = (account.total(outcome) for outcome in (WRITTEN, REJECTED, EXISTING))
    tiles = [(f"{written:,}", "clips written", "" if written or existing else "bad")]
    if existing:
        tiles.append((f"{existing:,}", "already in the folder", ""))
    if rejected:
        tiles.append((f"{rejected:,}", f"rejected, {account.reject_fraction:.1%}", "warn"))
    else:
        tiles.append(("0", "rejected", ""))
    if account.audio_s:
        tiles.append((format_duration(account.audio_s), "of audio embedded", ""))
    tiles.append((format_duration(wall_s), "from start to end", ""))
    if account.audio_s and wall_s >= MIN_RATED_S:
        tiles.append((f"{account.audio_s / wall_s:,.0f}x", "the speed of playback", ""))
    if shards:
        size = format_bytes(sum(shard.size_bytes for shard in shards))
        tiles.append((size, f"in {counted(len(shards), 'shard')}", ""))
    if not account.is_balanced:
        tiles.append(("NOT ALL", "clips accounted for", "bad"))
    elif account.total(EXPECTED):
        tiles.append(("all", "clips accounted for", "good"))
    return tiles


def _account_rows(account: Account, records: Counter[str]) -> list[tuple[Any, ...]]:
    outcomes = (EXPECTED, WRITTEN, REJECTED, EXISTING)
    splits = sorted({*account.splits, *records})
    rows = [(split, *(account.total(o, split) for o in outcomes), records[split]) for split in splits]
    if len(splits) > 1:
        rows.append(("all", *(account.total(o) for o in outcomes), sum(records.values())))
    return rows


def _sample_text(clips: Sequence[SampledClip], total: int) -> str:
    if len(clips) == total:
        which = "the only clip" if total == 1 else f"all {total:,} clips"
        return f"From {which} in the folder."
    return f"From a sample of {len(clips):,} of {total:,} clips in the folder, the same in each report."


def _progress_figures(samples: Sequence[Sample]) -> Iterator[Figure]:
    if len({sample.clips_done for sample in samples}) < _MIN_STEPS:
        return
    svg = plots.throughput(*zip(*((s.time_s, s.clips_done, s.rejected) for s in samples), strict=True))
    caption = "Clips over the time of the run. Where the line is flat, the run waited."
    yield Figure("throughput", "Progress", svg, caption)


def _feature_figures(
    config: Config,
    clips: Sequence[SampledClip],
    frames: np.ndarray,
    statistics: FrameStatistics,
    records: Counter[str],
) -> Iterator[Figure]:
    """Yields the figures with something to compare: none has one bar only."""
    seconds = np.array([clip.segment.end_s - clip.segment.start_s for clip in clips])
    if np.ptp(seconds):
        caption = f"Median {np.median(seconds):.2f} s, from {seconds.min():.2f} to {seconds.max():.2f} s."
        yield Figure("lengths", "Clip lengths", plots.lengths(seconds), caption)
    sampled, of_split = Counter[str](), Counter[str]()
    for clip in clips:
        sampled[clip.segment.split] += 1
        of_split[clip.segment.split] += len(clip.frames)
    if len(sampled) > 1:
        yield Figure(
            "frames",
            "Frames per split",
            plots.frames_by_split({s: of_split[s] / sampled[s] * records[s] for s in sorted(sampled)}),
            f"One frame per {config.options.example_hop_seconds} s"
            + ("." if sum(sampled.values()) == sum(records.values()) else "; estimated from the sample."),
        )
    is_raw = frames.dtype != np.uint8
    if np.count_nonzero(statistics.counts) > 1:
        yield Figure(
            "values",
            "Values" if is_raw else "Bytes",
            plots.values(statistics.counts, statistics.edges, is_raw),
            "How often each value occurs."
            if is_raw
            else f"How often each byte occurs. {_clipped_text(statistics)}",
        )
    if statistics.at_0.any() or statistics.at_255.any():
        yield Figure(
            "saturation",
            "Clipping by dimension",
            plots.saturation(statistics.at_0, statistics.at_255),
            "Share of frames in which each dimension is at an end of its range, 0 or 255.",
        )


def _clipped_text(statistics: FrameStatistics) -> str:
    at_0, at_255 = statistics.at_0.mean(), statistics.at_255.mean()
    if not at_0 and not at_255:
        return "No value is clipped: none is 0 or 255."
    return f"{at_0:.2%} are 0 and {at_255:.2%} are 255, where values are clipped."


def _all_frames(clips: Sequence[SampledClip]) -> np.ndarray:
    found = [clip.frames for clip in clips if len(clip.frames)]
    return np.concatenate(found) if found else np.empty((0, 0), np.uint8)


def _example_figure(config: Config, number: int, example: ExampleClip) -> Figure:
    clip, name, hop_s = example.clip, f"clip-{number}", config.options.example_hop_seconds
    start = f" from {clip.start_s:g} s" if clip.start_s else ""
    svg = plots.clip_pictures(example.log_mel, example.frames, hop_s, name)
    sound = "" if config.options.report_without_audio else audio_url(example.waveform)
    return Figure(
        name, f"{clip.split}/{plots.short(clip.video_id)}{start}", svg, shown_text(clip.file), sound
    )


def _tables(manifest: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    options = {k: v for k, v in manifest["options"].items() if v not in (None, False, "", [])}
    return [
        ("Settings that determine the features", [(k, _text(v)) for k, v in manifest["settings"].items()]),
        (
            "Runner and options",
            [("runner", manifest["runner"]), *((k, _text(v)) for k, v in options.items())],
        ),
        ("Versions", list(manifest["versions"].items())),
    ]


def _text(value: Any) -> str:
    """Returns a value of the manifest in words, not as Python or JSON writes it."""
    if isinstance(value, dict):
        value = [f"{name} {item}" for name, item in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)

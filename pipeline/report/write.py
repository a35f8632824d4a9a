"""Writes the report from the results of a run and a sample of the features."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from pipeline.cli.progress_display import Sample
from pipeline.cli.text import format_bytes, format_duration
from pipeline.job.config import Config
from pipeline.job.manifest import DISTRIBUTION
from pipeline.output.account import Account
from pipeline.output.run_files import REJECTED_LIST, REPORT_FILE, list_files, run_path
from pipeline.report import plots
from pipeline.report.examples import ExampleClip, example_clips
from transforms.features.open_shard import ShardFile
from transforms.features.sample import FrameStatistics, SampledClip, project, sample_clips
from transforms.inputs.read_segments import read_label_names
from transforms.printable import counted, printable
from transforms.redact import shown_text
from transforms.rejects import read_rejected
from transforms.storage.files import write_output
from transforms.write_account import EXISTING, EXPECTED, REJECTED, WRITTEN

# Sampled clips, points on the map, and clips with their own figures.
_SAMPLE_CLIPS, _MAP_POINTS, _EXAMPLES = 2_000, 1_500, 3
_REJECTS_SHOWN = 3
_NAMES_ON_MAP = 8


@dataclass(frozen=True)
class Figure:
    """A figure: its id on the page, title, SVG and caption."""

    name: str
    title: str
    svg: str
    caption: str


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

    figures = []
    if len(samples) > 1:
        svg = plots.throughput(*zip(*((s.time_s, s.clips_done, s.rejected) for s in samples), strict=True))
        caption = "Clips over the time of the run. A straight line means a constant speed; "
        caption += "a flat line means waiting."
        figures.append(Figure("throughput", "Throughput", svg, caption))
    if statistics is not None:
        figures += _feature_figures(config, clips, frames, statistics, records)
    html = render_page(
        title=output.rstrip("/").rsplit("/", 1)[-1] or output,
        when=f"{manifest['started']} to {manifest['finished']}".replace("T", " ").replace("+00:00", " UTC"),
        version=manifest["versions"].get(DISTRIBUTION, ""),
        tiles=_tiles(account, shards, wall_s),
        notes=list(_notes(config, account, statistics)),
        account=_account_rows(account, records),
        sample=_sample_text(clips, sum(records.values())),
        figures=figures,
        examples=[_example_figure(config, *pair) for pair in enumerate(example_clips(config, _EXAMPLES))],
        rejects=_rejects(config, account),
        tables=_tables(manifest),
    )
    write_output(run_path(output, REPORT_FILE), html.encode())


def render_page(**values: Any) -> str:
    """Renders page.html with values; strings in them are escaped, whatever they contain."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    page = resources.files("pipeline.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(page).render(values)


def _shown(value: Any) -> Any:
    """Makes a string printable and free of secrets; markup, such as the figures, stays unchanged."""
    return printable(shown_text(value)) if isinstance(value, str) and not isinstance(value, Markup) else value


def _tiles(account: Account, shards: Sequence[ShardFile], wall_s: float) -> list[tuple[str, str, str]]:
    rejected = account.total(REJECTED)
    return [
        (f"{account.total(WRITTEN):,}", "clips written", ""),
        (f"{rejected:,}", f"rejected, {account.reject_fraction:.1%}", "warn" if rejected else ""),
        (format_duration(account.audio_s), "audio embedded", ""),
        (format_duration(wall_s), "wall time", ""),
        (f"{account.audio_s / wall_s:,.0f}x", "real time", ""),
        (format_bytes(sum(shard.size_bytes for shard in shards)), f"in {counted(len(shards), 'shard')}", ""),
        ("complete", "account", "good") if account.is_balanced else ("INCOMPLETE", "account", "bad"),
    ]


def _notes(config: Config, account: Account, statistics: FrameStatistics | None) -> Iterator[str]:
    if config.assets.weights.sha256 is None:
        yield f"Weights {config.assets.weights.path} are noise: these embeddings mean nothing."
    if not account.is_balanced:
        yield "The counts do not add up: clips are missing. The manifest lists them; please report this."
    if account.reject_fraction > config.options.max_reject_fraction:
        yield f"More clips were rejected than --max_reject_fraction={config.options.max_reject_fraction}."
    if statistics is None:
        yield "The folder contains no frames."
        return
    yield from stuck_notes(statistics)


def stuck_notes(statistics: FrameStatistics) -> Iterator[str]:
    """Yields notes on uninformative dimensions: at an end of their range in most frames, or constant."""
    stuck = statistics.stuck()
    for value in (0, 255):
        names = [f"{dimension} ({share:.0%})" for dimension, at, share in stuck if at == value]
        if names:
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            yield f"Stuck at {value} in most frames: dimension {', '.join(names[:12])}{more}."
    constant = np.flatnonzero(statistics.is_constant)
    if len(constant) and statistics.counts.sum() > 128:
        yield f"The same value in every frame: dimension {', '.join(map(str, constant[:12]))}."


def _account_rows(account: Account, records: Counter[str]) -> list[tuple[Any, ...]]:
    outcomes = (EXPECTED, WRITTEN, REJECTED, EXISTING)
    splits = sorted({*account.splits, *records})
    rows = [(split, *(account.total(o, split) for o in outcomes), records[split]) for split in splits]
    if len(splits) != 1:
        rows.append(("all", *(account.total(o) for o in outcomes), sum(records.values())))
    return rows


def _sample_text(clips: Sequence[SampledClip], total: int) -> str:
    if len(clips) == total:
        which = "the only clip" if total == 1 else f"all {total:,} clips"
        return f"From {which} in the folder."
    return f"From a sample of {len(clips):,} of {total:,} clips in the folder, the same in each report."


def _feature_figures(
    config: Config,
    clips: Sequence[SampledClip],
    frames: np.ndarray,
    statistics: FrameStatistics,
    records: Counter[str],
) -> Iterator[Figure]:
    seconds = np.array([clip.segment.end_s - clip.segment.start_s for clip in clips])
    yield Figure(
        "lengths",
        "Clip lengths",
        plots.lengths(seconds),
        f"Median {np.median(seconds):.2f} s, from {seconds.min():.2f} to {seconds.max():.2f} s.",
    )
    sampled, of_split = Counter[str](), Counter[str]()
    for clip in clips:
        sampled[clip.segment.split] += 1
        of_split[clip.segment.split] += len(clip.frames)
    yield Figure(
        "frames",
        "Frames per split",
        plots.frames_by_split({s: of_split[s] / sampled[s] * records[s] for s in sorted(sampled)}),
        f"One frame per {config.options.example_hop_seconds} s"
        + ("." if sum(sampled.values()) == sum(records.values()) else "; estimated from the sample."),
    )
    is_raw = frames.dtype != np.uint8
    yield Figure(
        "values",
        "Values" if is_raw else "Bytes",
        plots.values(statistics.counts, statistics.edges, is_raw),
        "How often each value occurs."
        if is_raw
        else f"How often each byte occurs. {statistics.at_0.mean():.1%} are 0 and "
        f"{statistics.at_255.mean():.1%} are 255, where values are clipped.",
    )
    if not is_raw:
        yield Figure(
            "saturation",
            "Saturation by dimension",
            plots.saturation(statistics.at_0, statistics.at_255),
            "Share of frames in which each dimension is clipped, and therefore uninformative.",
        )
    yield _map_figure(config, clips)


def _map_figure(config: Config, clips: Sequence[SampledClip]) -> Figure:
    each = -(-_MAP_POINTS // len(clips))
    labels = config.clips.class_labels
    names = read_label_names(labels) if labels else {}
    if any(clip.segment.labels for clip in clips):
        by = "label"
        groups_of = [[names.get(i, f"class {i}") for i in clip.segment.labels] for clip in clips]
    elif len(clips) <= _NAMES_ON_MAP:
        by, groups_of = "clip", [[clip.segment.video_id] for clip in clips]
    else:
        by, groups_of = "split", [[clip.segment.split] for clip in clips]
    common = Counter(name for of_clip in groups_of for name in of_clip)
    shown = sorted(common, key=lambda name: (-common[name], name))[:_NAMES_ON_MAP]
    points, groups = [], list[int]()
    for clip, of_clip in zip(clips, groups_of, strict=True):
        some = clip.frames[:: max(1, len(clip.frames) // each)][:each]
        points.append(some)
        groups += [next((place for place, name in enumerate(shown) if name in of_clip), -1)] * len(some)
    projected, shares = project(np.concatenate(points)[:_MAP_POINTS])
    svg = plots.embedding_map(projected, np.array(groups[:_MAP_POINTS]), shown, shares)
    caption = f"One point per frame, on the sample's first two principal components, coloured by {by}."
    return Figure("map", "Map of embeddings", svg, caption)


def _all_frames(clips: Sequence[SampledClip]) -> np.ndarray:
    found = [clip.frames for clip in clips if len(clip.frames)]
    return np.concatenate(found) if found else np.empty((0, 0), np.uint8)


def _example_figure(config: Config, number: int, example: ExampleClip) -> Figure:
    clip, name, hop_s = example.clip, f"clip-{number}", config.options.example_hop_seconds
    start = f" from {clip.start_s:g} s" if clip.start_s else ""
    svg = plots.clip_pictures(example.log_mel, example.frames, hop_s, name)
    return Figure(name, f"{clip.split}/{clip.video_id}{start}", svg, shown_text(clip.file))


def _rejects(config: Config, account: Account) -> list[tuple[str, int, list[tuple[str, str]]]]:
    shown: dict[str, list[tuple[str, str]]] = defaultdict(list)
    # A hash assigns lines to files, so the first file contains every reason that is not rare.
    for path in list_files(config.options.output, REJECTED_LIST)[:1]:
        for clip in read_rejected(path):
            if len(shown[clip.reason.value]) < _REJECTS_SHOWN:
                where = clip.file if clip.offset is None else f"{clip.file} at {clip.offset}"
                shown[clip.reason.value].append((shown_text(where), shown_text(clip.message)))
    reasons = sorted(account.reasons().items(), key=lambda item: (-item[1], item[0]))
    return [(reason, number, shown[reason]) for reason, number in reasons]


def _tables(manifest: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    def text(value: Any) -> str:
        return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    options = {k: v for k, v in manifest["options"].items() if v not in (None, False, "", [])}
    return [
        ("Settings that determine the features", [(k, text(v)) for k, v in manifest["settings"].items()]),
        ("Options", [(k, text(v)) for k, v in options.items()]),
        ("Versions", list(manifest["versions"].items())),
    ]

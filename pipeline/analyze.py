"""python -m pipeline.analyze: statistics of a corpus in one pass, and its distance to another corpus.

    python -m pipeline.analyze --features=DIR [--compare=DIR2] [--output=NAME]
    python -m pipeline.analyze --input=GLOB [--segments=CSV] [--output=NAME]

For a feature folder, of this pipeline or of a release: clips, frames and hours by split and label; the mean,
standard deviation, quantiles and share of clipped bytes of each dimension; and the covariance. For audio: the
same counts, and the mean and variance of each log-mel band. docs/statistics.md defines each number.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam

from pipeline.assets.resolve import find_class_labels, find_segments
from pipeline.cli.commands import ANALYZE
from pipeline.job.path_checks import check_input, check_output_file
from pipeline.job.runner import make_pipeline
from pipeline.process.main import run_main
from pipeline.statistics.passes import FrameFolder, check_analysis_installed, run_analyses
from pipeline.statistics.tables import AUDIO, SideBySide, Statistics
from transforms.audioset.layout import check_split
from transforms.audioset.names import compile_id_pattern
from transforms.errors import SettingError
from transforms.extract_examples import ExtractExamples
from transforms.inputs.read_segments import read_label_names
from transforms.printable import json_text, say
from transforms.read_clips import ClipSettings, ReadClips
from transforms.read_features import QUANTIZED
from transforms.redact import shown, shown_text
from transforms.statistics.frechet import extrapolate
from transforms.storage.files import write_output

if TYPE_CHECKING:  # only with the extra [analysis]
    from transforms.statistics.analyze_corpus import AnalysisResult

# Rows per table on the screen; the file contains all rows.
_ROWS_SHOWN = 20


def run(argv: Sequence[str]) -> int:
    """Checks the command, analyzes the corpora, prints and writes the results, and returns the exit status.

    Raises:
      SettingError: a mistake in the command.
      OutputError: a folder is damaged, or the output cannot be written.
    """
    options, beam_flags = ANALYZE.parse(argv)
    check_analysis_installed()
    pipeline = make_pipeline(beam_flags)
    if options.output:
        check_output_file(options.output)
    if options.input:
        report: Statistics | SideBySide = _analyze_audio(pipeline, options)
    else:
        report = _analyze_features(pipeline, options)
    try:
        if options.output:
            write_output(f"{options.output}.json", f"{json_text(shown(report.to_json()), 1)}\n".encode())
            write_output(f"{options.output}.md", _markdown(report).encode())
    finally:  # print the results even if the disk is full
        say(*_markdown(report, _ROWS_SHOWN).removesuffix("\n").split("\n"))
    if options.output:
        say(f"written to {options.output}.json and {options.output}.md")
    return 0


def _analyze_features(pipeline: beam.Pipeline, options: argparse.Namespace) -> Statistics | SideBySide:
    corpora = [FrameFolder.at(path) for path in (options.features, options.compare) if path]
    if len({features.kind for features in corpora}) > 1:
        (one, kind), (other, other_kind) = corpora
        raise SettingError(
            f"--compare={other.path}: contains {other_kind} frames, but {one.path} contains {kind} frames; "
            "give two folders of the same kind"
        )
    labels = find_class_labels(options.class_labels, options.assets_dir)
    names = read_label_names(labels.path) if labels else {}
    analyses = [
        features.analysis(names, grouped=len(corpora) > 1 and features is corpora[0]) for features in corpora
    ]
    found = run_analyses(pipeline, analyses)
    statistics = [_statistics(*pair, names) for pair in zip(corpora, found, strict=True)]
    if len(statistics) == 1:
        return statistics[0]
    first, second = statistics
    assert second.moments is not None
    groups = found[0].groups
    if first.kind == QUANTIZED:
        groups = [sums.scaled(first.quantization.step, first.quantization.low) for sums in groups]
    return SideBySide(first, second, extrapolate(groups, second.moments))


def _statistics(features: FrameFolder, found: "AnalysisResult", class_names: Mapping[int, str]) -> Statistics:
    quantization, moments = features.folder.quantization, features.moments(found)
    if features.kind == QUANTIZED:
        moments = moments.scaled(quantization.step, quantization.low)
    return Statistics(features.path, features.kind, found.counts, moments, quantization, class_names)


def _analyze_audio(pipeline: beam.Pipeline, options: argparse.Namespace) -> Statistics:
    check_split(options.split)
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    inputs = check_input(options.input)
    segments, _ = find_segments(options.segments, options.class_labels, options.assets_dir)
    labels = find_class_labels(options.class_labels, options.assets_dir)
    label_path = labels.path if labels else None
    settings = ClipSettings(options.split, segments=segments, class_labels=label_path, id_pattern=id_pattern)
    from transforms.statistics.analyze_corpus import AnalyzeAudio

    def make_pass(temp_dir: str) -> AnalyzeAudio:
        return AnalyzeAudio(
            ReadClips(inputs.write(f"{temp_dir}-inputs"), settings), ExtractExamples(), temp_dir
        )

    (found,) = run_analyses(pipeline, [make_pass])
    return Statistics(
        " ".join(options.input),
        AUDIO,
        found.counts,
        found.moments,
        class_names=read_label_names(labels.path) if labels else {},
        rejected=found.rejected,
    )


def _markdown(report: Statistics | SideBySide, max_rows: int | None = None) -> str:
    tables = [line for table in report.tables() for line in table.lines(max_rows)]
    return shown_text("\n".join(["# Statistics", "", *report.summary(), "", *tables]))


if __name__ == "__main__":
    sys.exit(run_main("pipeline.analyze", lambda: run(sys.argv[1:])))

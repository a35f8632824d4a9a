"""python -m pipeline.analyze: what is in a corpus, in one pass, and how far is it from another?

    python -m pipeline.analyze --features=DIR [--compare=DIR2] [--output=NAME]
    python -m pipeline.analyze --input=GLOB [--segments=CSV] [--output=NAME]

Of a feature folder, this pipeline's or a release's: clips, frames and hours by split and label; of each
dimension mean, standard deviation, quantiles and the share of clipped bytes; the covariance. Of audio: the
same counts, and mean and variance of each log-mel band. docs/statistics.md says what each number is.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam

from pipeline.assets.resolve import find_class_labels, find_segments
from pipeline.cli.flags import OneLineParser, check_flags
from pipeline.job.path_checks import check_input, check_output_file
from pipeline.job.runner import make_pipeline
from pipeline.process.main import run_main
from pipeline.statistics.passes import AnalysisFactory, FrameFolder, check_analysis_installed, run_analyses
from pipeline.statistics.tables import AUDIO, SideBySide, Statistics
from transforms.audioset.layout import check_split
from transforms.audioset.names import compile_id_pattern
from transforms.errors import OutputError, SettingError
from transforms.extract_examples import ExtractExamples
from transforms.inputs.read_segments import ClassLabelFile
from transforms.printable import json_text, say
from transforms.read_clips import ClipSettings, ReadClips
from transforms.read_features import QUANTIZED
from transforms.redact import shown, shown_text
from transforms.storage.files import write_output
from transforms.storage.globs import plain_path
from transforms.storage.shared_files import ASSETS_DIR_VARIABLE
from transforms.vggish.params import EMBEDDING_SIZE

if TYPE_CHECKING:  # only with the extra [analysis]
    from transforms.statistics.analyze_corpus import AnalysisResult

# Rows of a table on the screen; in a file all are.
_ROWS_SHOWN = 20


def run(argv: Sequence[str]) -> int:
    """Checks the command, runs the pass, prints and writes what it found, and returns the exit status.

    Raises:
      SettingError: a mistake in the command.
      OutputError: a folder is damaged, or the output cannot be written.
    """
    options, beam_flags = _parse_options(argv)
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
    finally:  # a disk that is full costs no more than the files
        say(*_markdown(report, _ROWS_SHOWN).removesuffix("\n").split("\n"))
    if options.output:
        say(f"written to {options.output}.json and {options.output}.md")
    return 0


def _analyze_features(pipeline: beam.Pipeline, options: argparse.Namespace) -> Statistics | SideBySide:
    corpora = [FrameFolder.at(path) for path in (options.features, options.compare) if path]
    if len({features.kind for features in corpora}) > 1:
        (one, kind), (other, other_kind) = corpora
        raise SettingError(
            f"--compare={other.path}: holds {other_kind} frames, and {one.path} {kind}; "
            "give folders of one kind"
        )
    labels = find_class_labels(options.class_labels, options.assets_dir)
    names = ClassLabelFile(labels.path).names() if labels else {}
    found = run_analyses(pipeline, [_features_pass(features, names) for features in corpora])
    first, *further = (_statistics(*pair, names) for pair in zip(corpora, found, strict=True))
    return SideBySide(first, *further) if further else first


def _features_pass(features: FrameFolder, class_names: Mapping[int, str]) -> AnalysisFactory:
    # TensorFlow Transform is in an extra, which the command looks for first.
    from transforms.statistics.analyze_corpus import AnalyzeFeatures
    from transforms.statistics.analyze_vectors import AnalyzeVectors

    read = features.reader(class_names)
    return lambda temp_dir: AnalyzeFeatures(read, AnalyzeVectors(EMBEDDING_SIZE, temp_dir))


def _statistics(features: FrameFolder, found: "AnalysisResult", class_names: Mapping[int, str]) -> Statistics:
    quantization, moments = features.folder.quantization, found.moments
    if moments is None:
        raise OutputError(f"{features.path}: was emptied in the meantime; run the same command again")
    if features.kind == QUANTIZED:
        moments = moments.scaled(quantization.step, quantization.low)
    return Statistics(features.path, features.kind, found.counts, moments, quantization, class_names)


def _analyze_audio(pipeline: beam.Pipeline, options: argparse.Namespace) -> Statistics:
    check_split(options.split)
    id_pattern = compile_id_pattern(options.id_pattern) if options.id_pattern else None
    inputs = check_input(options.input)
    segments, _ = find_segments(options)
    labels = find_class_labels(options.class_labels, options.assets_dir)
    label_file = ClassLabelFile(labels.path) if labels else None
    settings = ClipSettings(options.split, segments=segments, class_labels=label_file, id_pattern=id_pattern)
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
        class_names=label_file.names() if label_file else {},
        rejected=found.rejected,
    )


def _markdown(report: Statistics | SideBySide, max_rows: int | None = None) -> str:
    tables = [line for table in report.tables() for line in table.lines(max_rows)]
    return shown_text("\n".join(["# Statistics", "", *report.summary(), "", *tables]))


def _parse_options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line: own options, and Beam's as flags."""
    parser = OneLineParser(
        prog="python -m pipeline.analyze",
        description="Sums up a feature folder, or a corpus of audio, in one pass: counts by split and label, "
        "and the statistics of its frames. Needs the extra [analysis].",
        epilog="Beam's options work too: --runner, --direct_num_workers and all others; --temp_location is a "
        "folder that all workers share.",
        allow_abbrev=False,
    )
    _add_options(parser)
    options, beam_flags = parser.parse_known_args(argv)
    check_flags(argv, _add_options)
    if bool(options.features) == bool(options.input):
        raise SettingError("give --features or --input, one of the two; see --help")
    if options.input and options.compare:
        raise SettingError(
            f"--compare={options.compare}: compares feature folders; give --features, not --input"
        )
    if options.features and options.segments:
        raise SettingError("--segments: is for --input; the records of --features have their labels")
    return options, beam_flags


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--features",
        metavar="DIR",
        type=plain_path,
        help="folder that holds SPLIT/PREFIX.tfrecord (this or --input is required)",
    )
    parser.add_argument(
        "--compare",
        metavar="DIR",
        type=plain_path,
        help="another feature folder: the Fréchet audio distance to it, and the shift of each dimension",
    )
    parser.add_argument(
        "--input",
        metavar="GLOB",
        type=plain_path,
        action="extend",
        nargs="+",
        help="audio files or shards, as of pipeline.run; repeatable",
    )
    parser.add_argument(
        "--output",
        metavar="NAME",
        type=plain_path,
        help="write NAME.json and NAME.md, with all rows of all tables (default: first rows, on the screen)",
    )
    parser.add_argument(
        "--segments",
        metavar="[SPLIT=]CSV",
        action="append",
        help="for --input: AudioSet segments CSV: clips, their split, times and labels; repeatable "
        "(default: every file is one clip)",
    )
    parser.add_argument(
        "--split",
        default="train",
        help="for --input: split of clips that no segments CSV names (default: %(default)s)",
    )
    parser.add_argument(
        "--id_pattern",
        metavar="REGEX",
        help="for --input: searched in each path for other file names; group 'id', and 'start' (seconds)",
    )
    parser.add_argument(
        "--class_labels",
        metavar="CSV",
        type=plain_path,
        help="class_labels_indices.csv (default: the released one; without it, labels have no names)",
    )
    parser.add_argument(
        "--assets_dir",
        metavar="DIR",
        type=plain_path,
        help="folder looked in first for the released class labels; also the environment variable "
        f"{ASSETS_DIR_VARIABLE} (default: the user cache)",
    )


if __name__ == "__main__":
    sys.exit(run_main("pipeline.analyze", lambda: run(sys.argv[1:])))

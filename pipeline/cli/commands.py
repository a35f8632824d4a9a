"""The command lines of the commands besides `pipeline.run`.

They are apart from the commands, whose imports take seconds, so that a mistake is reported at once.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.cli.flags import check_flags, join_words, parse_given
from pipeline.cli.option_groups import (
    ASSETS_DIR,
    ID_PATTERN,
    MODEL,
    PAD_SHORT,
    POSTPROCESS,
    PRECISION,
    add_options,
)
from pipeline.cli.parser import OneLineParser, program_of, required
from transforms.audioset.own_shards import RUN_FOLDER, SHARDS_FILE
from transforms.errors import SettingError

_BEAM = "Beam's options work too: --runner, --direct_num_workers, --temp_location and all others."
_SHARED_TEMP_LOCATION = f"{_BEAM} --temp_location must be a folder that all workers share."


FEATURES = {
    "--features DIR": "feature folder, with shards SPLIT/PREFIX.tfrecord, on any filesystem that Beam "
    "supports; the option's name may be left out"
}
EMBED_SUFFIXES = (".tfrecord", ".npy")


@dataclass(frozen=True)
class CommandLine:
    """The options of a command.

    Attributes:
      module: name of the command's module.
      usage: the command line in short, for `--help` (default: all options).
      description, epilog: for `--help`.
      options: usage -> text, as in `add_options`.
      required: names of the options that must be given.
      example: values of them.
      model: whether the command also has the options for weights and PCA parameters, in their own group.
      takes_beam: whether Beam's options are accepted; otherwise only those of the command.
      defaults: name -> default, where it differs from that of other commands.
      check: raises SettingError for options that do not go together.
    """

    module: str
    description: str
    options: Mapping[str, str] = field(default_factory=dict)
    epilog: str = ""
    usage: str | None = None
    required: Sequence[str] = ()
    example: str = ""
    model: bool = False
    takes_beam: bool = True
    defaults: Mapping[str, None] = field(default_factory=dict)
    check: Callable[[argparse.Namespace], None] = lambda options: None

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parses a command line.

        Returns:
          The command's own options, and Beam's options as flags.

        Raises:
          SettingError: an option is unknown, has a wrong value, or is missing.
        """
        parser = OneLineParser(
            prog=program_of(self.module),
            usage=self.usage and f"%(prog)s {self.usage}",
            description=self.description,
            epilog=self.epilog or None,
            allow_abbrev=False,
        )
        self.add_options(parser)
        if self.takes_beam:
            if "--features DIR" in self.options:
                argv = self._with_features(argv)
            options, beam_flags = parser.parse_known_args(argv)
            check_flags(argv, self.add_options)
        else:
            # Options may stand between the files.
            options, beam_flags = parser.parse_intermixed_args(argv), []
        missing = [f"--{name}" for name in self.required if not getattr(options, name)]
        if missing:
            raise SettingError(required(missing, self.example))
        self.check(options)
        return options, beam_flags

    def _with_features(self, argv: Sequence[str]) -> list[str]:
        """Returns a command line in which a word without an option is the feature folder."""
        argv = join_words(argv, self.add_options, "--features")
        given, _ = parse_given(argv, self.add_options)
        folders = [str(option.value) for option in given if option.destination == "features"]
        if len(folders) > 1:
            raise SettingError(f"give one feature folder, not {' and '.join(folders)}; see --help")
        return argv

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's own options to a parser."""
        add_options(parser, self.options)
        if self.model:
            add_options(parser.add_argument_group("model"), MODEL)
        parser.set_defaults(**self.defaults)


def _check_analyze(options: argparse.Namespace) -> None:
    if bool(options.features) == bool(options.input):
        raise SettingError(
            "give either --features or --input, such as --features=features or --input='clips/**'; see --help"
        )
    if options.input and options.compare:
        raise SettingError(
            f"--compare={options.compare}: it compares feature folders; give --features instead of --input"
        )
    if options.features and options.segments:
        raise SettingError(
            "--segments: works with --input only, since feature records contain their labels; leave it out"
        )


def _check_embed(options: argparse.Namespace) -> None:
    if options.output and not options.output.endswith(EMBED_SUFFIXES):
        raise SettingError(f"output {options.output}: must end with {' or '.join(EMBED_SUFFIXES)}")


def _check_root(options: argparse.Namespace) -> None:
    if options.root is not None and not re.fullmatch("[0-9a-f]{64}", options.root):
        raise SettingError(
            f"--root={options.root}: is not a SHA-256; give the 64 hexadecimal digits that a run prints"
        )


VERIFY = CommandLine(
    "pipeline.verify",
    "Checks a feature folder against the layout of the AudioSet release, and summarizes it. Exit status: 0 "
    "it is good, 1 it has problems (listed), 2 a mistake in the command.",
    {
        **FEATURES,
        "--strict": "also check that records are sorted by id and start; this pipeline sorts them, the "
        "release does not",
        "--manifest": f"also check that the shards have exactly the bytes listed in "
        f"{RUN_FOLDER}/{SHARDS_FILE}, which pipeline.run writes at its end",
        "--root HEX": "also check that the folder has this root, the SHA-256 of the list of all shards with "
        "theirs, which pipeline.run and this command print: so two folders are compared by one line",
        "--segments [SPLIT=]CSV": "also check that every clip of a segments CSV has a record with its "
        "labels, or is in the folder's list of rejects; a different end time is reported but is not an "
        "error, since the release has some too; SPLIT= is not needed for released file names; repeatable",
        "--class_labels CSV": "class_labels_indices.csv, for --segments (default: the released file)",
        **ASSETS_DIR,
        "--against DIR2": "compare with another folder, clip by clip; the sharding may differ; a clip that "
        "only one folder has, or whose number of frames differs, is a problem; different bytes are not a "
        "problem",
        "--json": "print the result as one JSON object, with all problems",
    },
    "Beam's filesystem options work too, such as --s3_endpoint_url.",
    usage="DIR [OPTION ...]",
    required=("features",),
    example="--features=/data/features",
    check=_check_root,
)
ANALYZE = CommandLine(
    "pipeline.analyze",
    "Summarizes a feature folder or an audio corpus in one pass: counts by split and label, and statistics "
    "of its frames. Needs the extra [analysis].",
    {
        **FEATURES,
        "--compare DIR": "another feature folder: report the Fréchet audio distance to it, and the shift of "
        "each dimension",
        "--input GLOB": "audio files or audio shards, as for pipeline.run, on any filesystem that Beam "
        "supports; ** also matches files in subfolders; repeatable (this or --features is required)",
        "--output NAME": "write NAME.json and NAME.md, with all rows of all tables (default: show the first "
        "rows only)",
        "--segments [SPLIT=]CSV": "for --input: AudioSet segments CSV: clips, their split, times and labels; "
        "repeatable (default: one clip per file)",
        "--class_labels CSV": "class_labels_indices.csv, with the names of the labels (default: the released "
        "file, if available)",
        "--split SPLIT": "for --input: split of clips that are not in a segments CSV (default: %(default)s)",
        **ID_PATTERN,
        **ASSETS_DIR,
    },
    _SHARED_TEMP_LOCATION,
    usage="DIR [OPTION ...]\n       %(prog)s --input GLOB [OPTION ...]",
    check=_check_analyze,
)
FIT_PCA = CommandLine(
    "pipeline.fit_pca",
    "Fits PCA and whitening to the raw embeddings of a corpus, which pipeline.run --postprocess=raw wrote, "
    "and writes them in the form of the released parameters. Needs the extra [analysis].",
    {
        **FEATURES,
        "--output FILE": ".npz file to write (required)",
        "--quantization_quantile Q": "also fit the quantization range: it leaves out this share of all "
        "values at each end, 0.001 to 0.499; in the release the share is 0.09 (default: the release's range, "
        "-2 to 2)",
    },
    _SHARED_TEMP_LOCATION,
    usage="DIR --output FILE [OPTION ...]",
    required=("features", "output"),
    example="--features=raw-features --output=pca.npz",
)
MAKE_SHARDS = CommandLine(
    "pipeline.make_shards",
    "Packs audio files, unchanged, into shards that pipeline.run reads.",
    {
        "--input GLOB": "audio files, on any filesystem that Beam supports; ** also matches files in "
        "subfolders; repeatable (required)",
        "--output DIR": "folder or gs:// path for the shards (required)",
        "--format": "format of the shards (required)",
        "--shard_bytes SIZE": "maximum total size of the files in a shard, with B, KB, MB or GB (decimal); "
        "a larger file gets its own shard (default: %(default)s)",
        "--segments [SPLIT=]CSV": "AudioSet segments CSV; files without a segment are not packed; "
        "repeatable (default: one clip per file)",
        "--class_labels CSV": "class_labels_indices.csv, for --segments (default: the released file)",
        "--split SPLIT": "split of the clips if --segments is not given (default: none; pipeline.run's "
        "--split decides)",
        **ID_PATTERN,
        **ASSETS_DIR,
    },
    f"{_BEAM} If you give --segments, give pipeline.run the same --segments for the shards.",
    required=("input", "output", "format"),
    example="--input='clips/**' --output=shards --format=tar",
    defaults={"split": None},
)
EXPORT_MODEL = CommandLine(
    "pipeline.export_model",
    "Writes a TensorFlow SavedModel that takes a waveform and returns its embeddings.",
    {"--output DIR": "new folder for the model (required)", **POSTPROCESS, **PRECISION},
    required=("output",),
    example="--output=model",
    model=True,
    takes_beam=False,
)
EMBED = CommandLine(
    "pipeline.embed_file",
    "Embeds one audio file without a pipeline, and prints its frames.",
    {
        "audio FILE": "the audio file (default: a tone)",
        "output OUT": "file to write: .tfrecord, as in the AudioSet release, or .npy (default: none)",
        **POSTPROCESS,
        **PAD_SHORT,
    },
    model=True,
    takes_beam=False,
    check=_check_embed,
)
SMOKE_TEST = CommandLine(
    "pipeline.smoke_test",
    "Embeds 3 s of a 1 kHz sine and compares the statistics with those of the released model.",
    model=True,
    takes_beam=False,
)
COMMANDS = {
    line.module: line for line in (EMBED, VERIFY, ANALYZE, FIT_PCA, MAKE_SHARDS, EXPORT_MODEL, SMOKE_TEST)
}

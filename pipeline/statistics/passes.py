"""Runs an analysis pipeline and returns its results to the launcher."""

import importlib.util
import platform
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.cli.console import unwrap_worker_errors
from pipeline.output.feature_folder import FeatureFolder
from pipeline.verification.check_folder import find_shards
from transforms.errors import OutputError, SettingError
from transforms.read_features import ReadFeatures, find_kind
from transforms.statistics.moments import Moments
from transforms.storage.files import is_local
from transforms.storage.filesystems import FILE_ERRORS
from transforms.vggish.params import EMBEDDING_SIZE
from transforms.vggish.postprocess import PcaParams

if TYPE_CHECKING:  # only with the extra [analysis]
    from transforms.statistics.analyze_corpus import AnalysisResult, AnalyzeAudio, AnalyzeFeatures

# Creates the analysis of a corpus; the argument is the path of a folder for its graphs.
AnalysisFactory = Callable[[str], "AnalyzeFeatures | AnalyzeAudio"]


class FrameFolder(NamedTuple):
    """A feature folder with frames, and their kind."""

    folder: FeatureFolder
    kind: str

    @property
    def path(self) -> str:
        return self.folder.path

    @classmethod
    def at(cls, path: str) -> "FrameFolder":
        """Reads the state of a folder.

        Raises:
          SettingError: it has no shards or no frames, or cannot be listed.
          OutputError: a shard is damaged.
        """
        folder = find_shards(path)
        kind = find_kind(folder.shards)
        if kind is None:
            raise SettingError(f"{path}: none of its shards has frames; give another folder")
        return cls(folder, kind)

    def analysis(
        self,
        classes: Collection[int] = (),
        pca: PcaParams | None = None,
        quantiles: Sequence[Any] = (),
        grouped: bool = False,
    ) -> AnalysisFactory:
        """Returns the factory of an analysis of the frames, or after PCA, of all their values together.

        Args:
          classes: if it is not empty, labels must be in it.
          quantiles: number and largest error of the quantiles; see `AnalyzeVectors`.
          grouped: also sum the frames in groups; see `SumGroups`.
        """
        # TensorFlow Transform is in an extra; the command checks first that it is installed.
        from transforms.statistics.analyze_corpus import AnalyzeFeatures
        from transforms.statistics.analyze_vectors import AnalyzeVectors
        from transforms.statistics.sum_groups import SumGroups

        read = ReadFeatures(self.path, self.kind, frozenset(classes) or None)
        size = 1 if pca else EMBEDDING_SIZE
        groups = SumGroups(EMBEDDING_SIZE) if grouped else None
        return lambda temp_dir: AnalyzeFeatures(read, AnalyzeVectors(size, temp_dir, *quantiles), pca, groups)

    def moments(self, found: "AnalysisResult") -> Moments:
        """Returns the moments of an analysis of this folder, which had frames when the command began."""
        if found.moments is None:
            raise OutputError(f"{self.path}: another program emptied it; run the same command again")
        return found.moments


def run_analyses(pipeline: beam.Pipeline, passes: Sequence[AnalysisFactory]) -> list["AnalysisResult"]:
    """Runs a pipeline with one analysis per corpus, and returns their results.

    Raises:
      SettingError: the pipeline's temporary folder cannot be created, or a corpus is not of the given kind.
      OutputError: a corpus is damaged.
    """
    from transforms.statistics.analyze_corpus import WriteAnalysis, read_analysis

    with _temporary_folder(pipeline) as folder:
        paths = [FileSystems.join(folder, f"findings-{number}.json") for number in range(len(passes))]
        with unwrap_worker_errors(), pipeline:
            for number, (make_pass, path) in enumerate(zip(passes, paths, strict=True)):
                analyze = make_pass(FileSystems.join(folder, f"graphs-{number}"))
                _ = pipeline | f"Corpus{number}" >> WriteAnalysis(analyze, path)
        return [read_analysis(path) for path in paths]


@contextmanager
def _temporary_folder(pipeline: beam.Pipeline) -> Iterator[str]:
    """Yields a new folder in Beam's --temp_location, which workers share, and deletes it afterwards."""
    place = pipeline.options.view_as(GoogleCloudOptions).temp_location
    folder = FileSystems.join(place or tempfile.gettempdir(), f"audioset-beam-{uuid.uuid4().hex}")
    try:
        FileSystems.mkdirs(folder)
    except (*FILE_ERRORS, ValueError) as error:
        raise SettingError(f"--temp_location={place}: cannot be written ({error}); give another") from error
    try:
        yield folder
    finally:
        if is_local(folder):  # Beam would treat the path as a glob
            shutil.rmtree(folder)
        else:
            FileSystems.delete([folder])


def check_analysis_installed() -> None:
    """Raises SettingError if TensorFlow Transform is not installed."""
    if importlib.util.find_spec("tensorflow_transform") is None:
        raise SettingError(
            "TensorFlow Transform is not installed; pip install 'audioset-beam[analysis]', with Python 3.11 "
            f"or later (this is {platform.python_version()})"
        )

"""Files and their extraction for the benchmarks of accelerators and threads, without TensorFlow and Beam."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from benchmarks.harness import make_corpus
from transforms.audio.decoder import Decoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.pcm import PcmWindows, as_examples
from transforms.prefetch import OrderedPrefetcher

if TYPE_CHECKING:
    from transforms.vggish.fused import FusedEmbedder

Examples = NDArray | PcmWindows
Extract = Callable[[Iterable[Path]], Iterator[Examples]]
# The same bounds as in `transforms.extract_examples`, which this module cannot import: it needs Beam.
MAX_AHEAD, MAX_AHEAD_BYTES = 64, 1 << 26
RATES_HZ = (16_000, 44_100) if importlib.util.find_spec("resampy") else (16_000,)


@contextlib.contextmanager
def file_extractor(
    extraction: Extraction, num_threads: int, make_decoder: Callable[[], Decoder] = IsolatedDecoder
) -> Iterator[Extract]:
    """Yield a function that extracts the examples of files as the pipeline does.

    It extracts in threads, each with its own decoder, a bounded number of files ahead of the caller, and
    yields the arrays of examples in the order of the files. The decoders stay alive between calls.
    """

    def extract(path: Path, decoder: Decoder) -> Iterator[Examples]:
        with open(path, "rb") as file, decoder.open(file) as audio:
            for array in audio.examples(extraction):
                yield as_examples(array, audio.rate_hz, extraction)

    def extract_all(paths: Iterable[Path]) -> Iterator[Examples]:
        for path in paths:
            yield from prefetcher.put(path)
        yield from prefetcher.drain()

    decoders = [make_decoder() for _ in range(num_threads)]
    limits = MAX_AHEAD, MAX_AHEAD_BYTES
    prefetcher = OrderedPrefetcher(extract, decoders, lambda path: 0, lambda array: array.nbytes, *limits)
    try:
        yield extract_all
    finally:
        prefetcher.close()
        for decoder in decoders:
            if isinstance(decoder, IsolatedDecoder):
                decoder.close()


def embed_files(embedder: "FusedEmbedder", extract: Extract, paths: Iterable[Path], size: int) -> int:
    """Embed files in groups of `size` or slightly more examples; return the number of examples."""

    def groups() -> Iterator[list[PcmWindows]]:
        group: list[PcmWindows] = []
        for clip in extract(paths):
            group.append(clip)
            if sum(map(len, group)) >= size:
                yield group
                group = []
        if group:
            yield group

    with ThreadPoolExecutor(2) as callers:  # one waits for its results while the device computes the other's
        return sum(sum(map(len, embedded)) for embedded in callers.map(embedder.embed_clips, groups()))


def write_files(folder: Path, num_files: int) -> dict[str, list[Path]]:
    """Write stereo clips at the highest rate; return their paths by suffix, none without soundfile."""
    suffixes = ("wav", "flac") if importlib.util.find_spec("soundfile") else ()
    return {suffix: make_corpus(folder / suffix, num_files, suffix, RATES_HZ[-1], 2) for suffix in suffixes}

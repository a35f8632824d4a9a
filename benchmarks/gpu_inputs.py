"""Sounds, files and windows for the benchmark of accelerators, without TensorFlow and Beam."""

import collections
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transforms.audio.decoder import Decoder
from transforms.audio.extraction import Extraction
from transforms.audio.isolated.isolation import IsolatedDecoder
from transforms.pcm import PcmWindows, as_examples
from transforms.prefetch import OrderedPrefetcher

if TYPE_CHECKING:
    from transforms.vggish.fused import FusedEmbedder

# As `extract_examples` has them.
MAX_AHEAD, MAX_AHEAD_BYTES = 64, 1 << 26
RATES_HZ = (16_000, 44_100) if importlib.util.find_spec("resampy") else (16_000,)
_CLIP_S = 10.0


def sound(seed: int, rate_hz: int, channels: int) -> NDArray[np.int16]:
    """A clip of gliding tones and bursts of noise, int16[samples, channels]."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(_CLIP_S * rate_hz))[:, np.newaxis] / rate_hz
    phases = rng.uniform(0, 6, (2, 1, channels)) + times_s * rng.uniform(500, 20_000, (2, 1, channels))
    tones = np.sin(phases[0]) + np.sin(phases[1] * (1 + 0.02 * times_s))
    bursts = rng.standard_normal(tones.shape) * np.exp(-8 * (times_s * rng.uniform(0.5, 3) % 1.0))
    return np.round(4_000 * tones + 6_000 * bursts).clip(-32_768, 32_767).astype(np.int16)


def mono(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    return samples.mean(axis=1) / 32_768


def repeated(windows: NDArray, number: int) -> NDArray:
    return np.concatenate([windows] * -(-number // len(windows)))[:number]


class FileExtractor:
    """Extracts files' examples as the pipeline does: in threads, each with its decoder, a few ahead.

    Its decoders go on from call to call. To be closed, as a context manager does.

    Args:
      extraction: how examples are made.
      num_threads: that work at the same time.
      decoder: makes each thread's decoder.
    """

    def __init__(
        self, extraction: Extraction, num_threads: int, decoder: Callable[[], Decoder] = IsolatedDecoder
    ):
        self._extraction = extraction
        self._decoders = [decoder() for _ in range(num_threads)]
        self._ahead = OrderedPrefetcher(
            self._extract,
            self._decoders,
            lambda path: 0,
            lambda found: found.nbytes,
            MAX_AHEAD,
            MAX_AHEAD_BYTES,
        )

    def __enter__(self) -> "FileExtractor":
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.close()
        for decoder in self._decoders:
            if isinstance(decoder, IsolatedDecoder):
                decoder.close()

    def examples(self, paths: Iterable[Path]) -> Iterator[NDArray | PcmWindows]:
        """Yields the files' arrays of examples, in the files' order."""
        for path in paths:
            yield from self._ahead.put(path)
        yield from self._ahead.drain()

    def _extract(self, path: Path, decoder: Decoder) -> Iterator[NDArray | PcmWindows]:
        with open(path, "rb") as file, decoder.open(file) as audio:
            for array in audio.examples(self._extraction):
                yield as_examples(array, audio.rate_hz, self._extraction)


def embed_files(embedder: "FusedEmbedder", extractor: FileExtractor, paths: Iterable[Path], size: int) -> int:
    """Extracts and embeds files, `size` examples or a few more at a time; returns how many examples."""
    gathered: list[PcmWindows] = []
    done = 0
    with ThreadPoolExecutor(2) as callers:  # while one waits for its results, the other's are computed
        calls: collections.deque[Future] = collections.deque()
        for clip in itertools.chain(extractor.examples(paths), [None]):
            if clip is not None:
                gathered.append(clip)
                done += len(clip)
            if gathered and (clip is None or sum(map(len, gathered)) >= size):
                calls.append(callers.submit(embedder.embed_clips, gathered))
                gathered = []
            while len(calls) > (0 if clip is None else 2):
                calls.popleft().result()
    return done


def write_files(folder: Path, num_files: int) -> dict[str, list[Path]]:
    """Stereo clips at the highest rate in each format; none without soundfile."""
    if importlib.util.find_spec("soundfile") is None:
        return {}
    import soundfile

    paths: dict[str, list[Path]] = {"wav": [], "flac": []}
    for number in range(num_files):
        samples = sound(number, RATES_HZ[-1], 2)
        for suffix, of_format in paths.items():
            of_format.append(folder / f"{number}.{suffix}")
            soundfile.write(of_format[-1], samples, RATES_HZ[-1], subtype="PCM_16")
    return paths

"""The parameters of the VGGish release. Changing any of them changes the features.

Source of every number: tensorflow/models, research/audioset/vggish, `vggish_params.py` and
`mel_features.py`. The paper is Hershey et al., "CNN Architectures for Large-Scale Audio
Classification", ICASSP 2017.
"""

from dataclasses import dataclass

# Waveform.
SAMPLE_RATE_HZ = 16_000
INT16_SCALE = 32_768.0  # int16 value of full scale 1.0

# Short-time Fourier transform: 25 ms periodic Hann window, 10 ms hop, no padding.
STFT_WINDOW_SAMPLES = 400
STFT_HOP_SAMPLES = 160
FFT_SAMPLES = 512
FRAMES_PER_S = SAMPLE_RATE_HZ / STFT_HOP_SAMPLES

# Mel filter bank, HTK formula.
MEL_BANDS = 64
MEL_MIN_HZ = 125.0
MEL_MAX_HZ = 7_500.0
MEL_BREAK_HZ = 700.0
MEL_HIGH_Q = 1_127.0
LOG_OFFSET = 0.01

# Network.
EXAMPLE_FRAMES = 96
EMBEDDING_SIZE = 128

# Postprocessing.
QUANTIZE_MIN = -2.0
QUANTIZE_MAX = +2.0


MIN_EXAMPLE_S, MAX_EXAMPLE_S = 0.01, 3_600.0


@dataclass(frozen=True)
class Framing:
    """How a log-mel spectrogram is divided into examples.

    Attributes:
      window_s: length of an example in seconds. The released network accepts only 0.96 s (96 frames).
      hop_s: time between the starts of consecutive examples, in seconds. The release uses 0.96.

    Raises:
      ValueError: a length is not from one spectrogram frame (10 ms) to one hour.
    """

    window_s: float = 0.96
    hop_s: float = 0.96

    def __post_init__(self) -> None:
        for name in ("window_s", "hop_s"):
            value = getattr(self, name)
            if not MIN_EXAMPLE_S <= value <= MAX_EXAMPLE_S:  # also true of NaN
                raise ValueError(f"{name} is {value}; give {MIN_EXAMPLE_S} to {MAX_EXAMPLE_S} s")

    @property
    def window_frames(self) -> int:
        return round(self.window_s * FRAMES_PER_S)

    @property
    def hop_frames(self) -> int:
        return round(self.hop_s * FRAMES_PER_S)

    @property
    def min_samples(self) -> int:
        """Minimum number of samples at 16 kHz for one example: 15,600 (0.975 s) by default."""
        return STFT_WINDOW_SAMPLES + (self.window_frames - 1) * STFT_HOP_SAMPLES

    @property
    def min_s(self) -> float:
        """Minimum duration for one example in seconds: 0.975 by default."""
        return self.min_samples / SAMPLE_RATE_HZ

    def num_examples(self, num_samples: int) -> int:
        """Return the number of examples in `num_samples` samples at 16 kHz; an incomplete tail is dropped."""
        if num_samples < self.min_samples:
            return 0
        frames = 1 + (num_samples - STFT_WINDOW_SAMPLES) // STFT_HOP_SAMPLES
        return 1 + (frames - self.window_frames) // self.hop_frames

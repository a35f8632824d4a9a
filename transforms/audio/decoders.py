"""Which decoders are installed."""

import re

import av
import soundfile

LIBSNDFILE, LIBAVCODEC = "libsndfile", "libavcodec"


def decoder_versions() -> dict[str, str]:
    """Library -> version, of those that samples depend on: libsndfile, and of ffmpeg the part that decodes."""
    return {
        LIBSNDFILE: soundfile.__libsndfile_version__,
        LIBAVCODEC: ".".join(map(str, av.library_versions["libavcodec"])),
    }


def decoder_settings() -> dict[str, str]:
    """Library -> the part of its version that changes where the samples that it decodes may change.

    Of libsndfile, whose parts are major, minor and patch, the first two; of libavcodec the first, which counts
    ffmpeg's releases with a new interface. Smaller ones mend faults, and would make every folder a closed one.
    """
    versions = decoder_versions()
    return {
        LIBSNDFILE: re.sub(r"^(\d+\.\d+).*", r"\1", versions[LIBSNDFILE]),
        LIBAVCODEC: versions[LIBAVCODEC].partition(".")[0],
    }

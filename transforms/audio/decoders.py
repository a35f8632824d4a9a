"""Which decoders are installed."""

import re

import av
import soundfile

LIBSNDFILE, LIBAVCODEC = "libsndfile", "libavcodec"


def decoder_versions() -> dict[str, str]:
    """Library -> version of what samples depend on: libsndfile, and the part of ffmpeg that decodes."""
    return {
        LIBSNDFILE: soundfile.__libsndfile_version__,
        LIBAVCODEC: ".".join(map(str, av.library_versions["libavcodec"])),
    }


def decoder_settings() -> dict[str, str]:
    """Library -> the part of its version that changes where the samples that it decodes may change.

    Of libsndfile (major, minor, patch) it is the first two, of libavcodec, ffmpeg's decoders, the first,
    which rises every other year. If a patch counted, each upgrade would close every folder that is there.
    """
    versions = decoder_versions()
    return {
        LIBSNDFILE: re.sub(r"^(\d+\.\d+).*", r"\1", versions[LIBSNDFILE]),
        LIBAVCODEC: versions[LIBAVCODEC].partition(".")[0],
    }

"""The versions of the installed decoders."""

import re

import av
import soundfile

LIBSNDFILE, LIBAVCODEC = "libsndfile", "libavcodec"


def decoder_versions() -> dict[str, str]:
    """Return library -> version for libsndfile and ffmpeg's decoders, on which the samples depend."""
    return {
        LIBSNDFILE: soundfile.__libsndfile_version__,
        LIBAVCODEC: ".".join(map(str, av.library_versions["libavcodec"])),
    }


def decoder_settings() -> dict[str, str]:
    """Return library -> the part of its version that changes when decoded samples may change.

    This is major.minor for libsndfile, and the major version for libavcodec, ffmpeg's decoders, which changes
    every other year. If patch versions counted, no upgrade could continue an existing feature folder.
    """
    versions = decoder_versions()
    return {
        LIBSNDFILE: re.sub(r"^(\d+\.\d+).*", r"\1", versions[LIBSNDFILE]),
        LIBAVCODEC: versions[LIBAVCODEC].partition(".")[0],
    }

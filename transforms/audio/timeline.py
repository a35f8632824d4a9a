"""Where decoded frames lie on a container's time axis: silence before a late start, and no gap after it."""

from transforms.errors import ClipError, Reason

# Audio that starts later in a video than this is damage: its silence would be most of the record.
MAX_LATE_S = 3_600.0
# Timestamps of whole milliseconds (Matroska, ASF, FLV) are off by up to 1 ms, and encoders pad the start of
# the audio by a few. A packet that is lost leaves a gap of its whole length.
_MIN_GAP_S = 0.01


class Timeline:
    """Follows the timestamps of one stream's frames.

    Args:
      origin_s: the time at which the container's audio and video begin: time 0 of a recording.
      has_timestamps: whether the container has any; without, frames follow each other.

    Attributes:
      end_s: where the frames so far end, in the container's own time.
    """

    def __init__(self, origin_s: float, has_timestamps: bool):
        self.end_s = origin_s
        self._origin_s = origin_s
        self._has_timestamps = has_timestamps
        self._first_packet_s: float | None = None
        self._has_begun = False

    def add_packet(self, start_s: float) -> None:
        """Notes the first packet's time, which encoder delay moves to before the first frame's."""
        if self._first_packet_s is None:
            self._first_packet_s = start_s

    def add_frame(self, start_s: float | None, length_s: float) -> float:
        """Places a decoded frame.

        Args:
          start_s: its timestamp; None where it follows the one before.
          length_s: its number of samples over the rate.

        Returns:
          Seconds of silence that belong before it.

        Raises:
          ClipError: CORRUPT where audio is missing before it, half a frame and 10 ms or more, or where the
            first one begins more than an hour after the recording.
        """
        silence_s = 0.0
        if start_s is None or not self._has_timestamps:
            start_s = self.end_s
        tolerance_s = max(_MIN_GAP_S, length_s / 2)
        gap_s = start_s - self.end_s
        if not self._has_begun:
            late_s = (start_s if self._first_packet_s is None else self._first_packet_s) - self._origin_s
            # Some decoders swallow frames, so that the first sample is later than the first packet.
            if self._has_timestamps and late_s >= tolerance_s:
                if gap_s > MAX_LATE_S:
                    raise ClipError(Reason.CORRUPT, f"begins {gap_s:.2f} s after the recording")
                silence_s = gap_s
        elif gap_s >= tolerance_s:
            at_s = self.end_s - self._origin_s
            raise ClipError(Reason.CORRUPT, f"{gap_s:.2f} s of audio are missing, after {at_s:.2f} s")
        self._has_begun = True
        # Time that goes back, where files were joined, loses nothing: the samples follow each other.
        self.end_s = start_s + length_s
        return silence_s

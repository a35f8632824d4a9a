"""Place decoded frames on a container's time axis: silence before a late start, and no gaps after it."""

from transforms.errors import ClipError, Reason

# A later start of the audio in a video means damage: the record would be mostly silence.
MAX_LATE_S = 3_600.0
# Timestamps in whole milliseconds (Matroska, ASF, FLV) are off by up to 1 ms, and encoders pad the start of
# the audio by a few ms. A lost packet leaves a gap of its whole length.
_MIN_GAP_S = 0.01


class Timeline:
    """Follows the timestamps of one stream's frames.

    Args:
      origin_s: start of the container's audio and video, which is time 0 of the recording.
      has_timestamps: whether the container has timestamps; without them frames follow each other.

    Attributes:
      end_s: end of the frames so far, in the container's own time.
    """

    def __init__(self, origin_s: float, has_timestamps: bool):
        self.end_s = origin_s
        self._origin_s = origin_s
        self._has_timestamps = has_timestamps
        self._first_packet_s: float | None = None
        self._has_frames = False

    def add_packet(self, start_s: float) -> None:
        """Record the time of the first packet, before the encoder's delay is removed from the first frame."""
        if self._first_packet_s is None:
            self._first_packet_s = start_s

    def add_frame(self, start_s: float | None, length_s: float) -> float:
        """Place a decoded frame.

        Args:
          start_s: timestamp of the frame; None if it follows the previous one.
          length_s: number of samples divided by the rate.

        Returns:
          Seconds of silence to insert before the frame.

        Raises:
          ClipError: CORRUPT if at least 10 ms and half a frame of audio are missing before the frame, or if
            the first frame begins more than an hour after the recording.
        """
        silence_s = 0.0
        if start_s is None or not self._has_timestamps:
            start_s = self.end_s
        tolerance_s = max(_MIN_GAP_S, length_s / 2)
        gap_s = start_s - self.end_s
        if not self._has_frames:
            late_s = (start_s if self._first_packet_s is None else self._first_packet_s) - self._origin_s
            # Some decoders drop frames, so that the first sample is later than the first packet.
            if self._has_timestamps and late_s >= tolerance_s:
                if gap_s > MAX_LATE_S:
                    raise ClipError(Reason.CORRUPT, f"begins {gap_s:.2f} s after the recording")
                silence_s = gap_s
        elif gap_s >= tolerance_s:
            at_s = self.end_s - self._origin_s
            raise ClipError(Reason.CORRUPT, f"{gap_s:.2f} s of audio are missing, after {at_s:.2f} s")
        self._has_frames = True
        # Time may go back where files were joined. No samples are lost: they follow each other.
        self.end_s = start_s + length_s
        return silence_s

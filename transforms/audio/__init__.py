"""From the bytes of an audio file to log-mel examples. Never imports Beam."""

"""Decode audio files and compute log-mel examples. Never imports Beam."""

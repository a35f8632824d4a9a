"""Parsers of audio file structure: the stated lengths in headers, and the positions of frames."""

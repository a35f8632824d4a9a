"""Parsers of audio file structure: what a file's headers promise, and where its frames are."""

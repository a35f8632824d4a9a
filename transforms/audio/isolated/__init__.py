"""Decoding in separate processes, so that no file can crash, hang or exhaust a worker."""

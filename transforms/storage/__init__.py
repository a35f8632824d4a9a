"""Finds, reads and atomically writes files on any filesystem that Beam supports."""

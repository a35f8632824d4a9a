"""The released files: their sources, and the selection for a run."""

"""The released files: where they come from, and which ones a run uses."""

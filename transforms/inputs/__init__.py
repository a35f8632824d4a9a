"""The inputs of a run: which files there are, and which clips they contain."""

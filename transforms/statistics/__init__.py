"""Statistics of a corpus: counts, moments, distances."""

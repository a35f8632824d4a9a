"""AudioSet's own formats: segments, labels, records, shards. Never imports Beam."""

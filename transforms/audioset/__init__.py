"""The AudioSet formats: segments, labels, records and shards. Never imports Beam."""

"""Reads and writes shards that hold many clips: TFRecord, tar and Parquet. Never imports Beam."""

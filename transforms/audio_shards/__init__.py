"""Shards that hold many clips: TFRecord, tar and Parquet. Never imports Beam."""

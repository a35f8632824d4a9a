"""The names of the formats of input files."""

AUDIO = "audio"
SHARD_FORMATS = ("tfrecord", "tar", "parquet")
# As an option: detect the format of each file.
AUTO = "auto"

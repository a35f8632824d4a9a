"""The keys of records, which differ between AudioSet and YouTube-8M."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schema:
    """The keys that differ between the two projects whose training code reads such records.

    Attributes:
      name: of the project, as a value of `--output_schema`.
      video_id: context key of the clip's id.
      frames: feature-list key of its frames.
    """

    name: str
    video_id: str
    frames: str


AUDIOSET_SCHEMA = Schema("audioset", "video_id", "audio_embedding")
# Frame-level features of YouTube-8M since 2018 (google/youtube-8m, readers.py). Its readers ignore unknown
# keys, and therefore the times.
YOUTUBE8M_SCHEMA = Schema("youtube8m", "id", "audio")
SCHEMAS = {schema.name: schema for schema in (AUDIOSET_SCHEMA, YOUTUBE8M_SCHEMA)}

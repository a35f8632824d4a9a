"""Finds inputs whose records a killed run replaced before it could list them as duplicates.

A run that replaces the record of another input lists that input as a duplicate. If the run is killed between
the two steps, the next run finds only the new record. So `find_displaced` compares the records in the killed
run's notes with the current ones.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from apache_beam.io.filesystems import FileSystems

from transforms.audioset.layout import shard_path
from transforms.audioset.own_shards import is_note, noted_shard
from transforms.audioset.segments import milliseconds
from transforms.clips import RejectedClip
from transforms.errors import OutputError
from transforms.features.assemble_clips import reject_displaced
from transforms.features.existing_records import ROW, read_shard_records, record_key, row_of
from transforms.features.folder_shards import ShardNotes
from transforms.features.sources import UNKNOWN, least_sources, read_source_rows, record_hash, sources_path
from transforms.storage.files import read_file
from transforms.storage.filesystems import FILE_ERRORS
from transforms.storage.listing import list_files

_NUM_THREADS = 8


def find_displaced(output: str) -> list[RejectedClip]:
    """Return the inputs of earlier runs whose records the last run replaced, according to its notes.

    It raises OutputError if a note or a shard is damaged, or cannot be read.
    """
    files = list_files(ShardNotes.pattern(output)).files
    # The notes of new shards are empty.
    notes = [path for path, size in files if size and is_note(path.rsplit("/", 1)[-1])]
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        found = pool.map(lambda path: list(_displaced(output, path)), notes)
        return [clip for clips in found for clip in clips]


def _displaced(output: str, note: str) -> Iterator[RejectedClip]:
    try:
        before = np.frombuffer(read_file(note), ROW)
    except (*FILE_ERRORS, ValueError) as error:
        raise OutputError(
            f"{note}: is damaged or cannot be read ({error}); delete it and run the same command again: the "
            "list of rejects may then lack inputs whose records the last run replaced"
        ) from error
    split, name = noted_shard(note.rsplit("/", 1)[-1]).rsplit(".", 1)[0].split("/")
    rows = read_source_rows(sources_path(output, split, name))
    by_hash = {source.hash: source for _, source in rows}
    by_record = least_sources(rows)
    for segment, record in read_shard_records(FileSystems.join(output, *shard_path(split, name).split("/"))):
        row = row_of(before, record_key(segment))
        now = by_record.get(record_hash(record))
        if row is None or row["source"] == UNKNOWN or now is None:
            continue
        old = by_hash.get(int(row["source"]))
        # An input whose file is gone was replaced by one that may sort after it; it is not a duplicate.
        if old is not None and now < old and old.exists():
            # Not in float32, as in the record.
            start_s = milliseconds(segment.start_s) / 1000
            yield reject_displaced(replace(segment, start_s=start_s), old, now)

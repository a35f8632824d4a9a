"""The feature folder: its shards, lock, lists and account."""

"""A command's process: how it starts, prints and ends."""

"""A worker process imports this first, so that it ends with its launcher."""

from transforms.launcher import follow_named_launcher

follow_named_launcher()

"""Processes of tests, forked from one server that has what their modules import."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
# A process of pytest has one server, for all of its files. Without these, each fork imports them: up to a
# second of a core, and some tests have thirty forks.
CONTEXT.set_forkserver_preload(
    ["pipeline.assets.released", "pipeline.output.lock", "pipeline.process.temporary", "psutil", "pytest"]
)

"""Child processes of tests, forked from one server that has imported their modules."""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
# Each process of pytest has one server for all of its files. Without the preload each fork would import these
# modules, which takes up to a second of CPU time, and some tests have thirty forks.
CONTEXT.set_forkserver_preload(
    ["pipeline.assets.released", "pipeline.output.lock", "pipeline.process.temporary", "psutil", "pytest"]
)

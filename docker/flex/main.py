"""The entry point of the Flex Template: starts `pipeline.run`, whose own folder must not be on the path."""

import sys

from pipeline.cli.console import run_command
from pipeline.run import run

sys.exit(run_command("pipeline.run", lambda: run(sys.argv[1:])))

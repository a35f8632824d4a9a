"""What a person runs. Assembles the transforms, computes nothing itself."""

from pipeline.cli.console import import_tensorflow_quietly

import_tensorflow_quietly()

import sys

import pytest
from commands import ROOT, run_command

# As for a script that is run there.
sys.path.insert(0, str(ROOT / "examples"))


@pytest.fixture(scope="session")
def example():
    """Runs one of the examples as a user does; returns what it prints, or with status 2 its one line."""

    def run(name: str, *arguments: object, status: int = 0) -> str:
        result = run_command(str(ROOT / "examples" / name), *map(str, arguments))
        assert result.returncode == status, result.stderr
        if status == 0:
            return result.stdout
        (line,) = result.stderr.strip().splitlines()
        return line

    return run

"""What those who carry on rely on: one version, a type marker, files that parse."""

import re
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:  # mypy brings it
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_semantic_and_one():
    version = PROJECT["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version and citation["license"] == PROJECT["project"]["license"]


def test_packages_say_that_they_have_types():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("pipeline", "transforms"):
        assert "py.typed" in data[package] and (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize(
    "path", [".github/workflows/ci.yml", ".pre-commit-config.yaml", *(ROOT / ".github").glob("*/*.yml")]
)
def test_files_of_others_tools_parse(path):
    assert isinstance(yaml.safe_load((ROOT / path).read_text()), dict)


def test_actions_run_what_a_desk_runs():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["all"]["steps"]
    assert steps[-1]["run"] == ".ci/run"


def test_every_dependency_has_its_reason():
    reasons = (ROOT / "CONTRIBUTING.md").read_text().partition("## Why these dependencies")[2]
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert name in reasons or name.startswith("types-"), name

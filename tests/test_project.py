"""The project's metadata: version, type markers, files of other tools, dependencies, changelog."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.assets import released

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


def test_packages_have_type_markers():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("pipeline", "transforms"):
        assert "py.typed" in data[package] and (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", ["pipeline", "transforms"])
def test_the_wheel_has_the_data_files_of_a_package(package):
    patterns = PROJECT["tool"]["setuptools"]["package-data"][package]
    listed = {path for pattern in patterns for path in (ROOT / package).glob(pattern)}
    files = {path for path in (ROOT / package).rglob("*.*") if path.is_file()}
    assert listed == {path for path in files if path.suffix not in (".py", ".pyc")}


@pytest.mark.parametrize("package", ["pipeline", "transforms"])
def test_the_tests_of_a_module_are_at_its_path(package):
    """Of transforms/pcm.py in tests/test_pcm.py, and of pipeline/run.py in tests/pipeline/test_run.py."""
    for module in (ROOT / package).rglob("*.py"):
        if module.name != "__init__.py":
            folder = module.parent.relative_to(ROOT / "transforms" if package == "transforms" else ROOT)
            assert (ROOT / "tests" / folder / f"test_{module.name}").is_file(), module


@pytest.mark.parametrize("path", [".pre-commit-config.yaml", *(ROOT / ".github").rglob("*.yml")])
def test_files_of_other_tools_parse(path):
    assert isinstance(yaml.safe_load((ROOT / path).read_text()), dict)


def test_github_actions_run_each_part_of_the_script_of_ci():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    parts = re.findall(r"^  (\w+)\) ", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert sorted(jobs) == sorted(set(parts) - {"all"})
    for name, job in jobs.items():
        assert job["steps"][-1]["run"] == f".ci/run {name}"
    assert all(job["needs"] for name, job in jobs.items() if name != "style")


def test_every_supported_python_has_its_unit_tests():
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["unit"]["strategy"]
    tested = [row["python"] for row in matrix["matrix"]["include"]]
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])
    assert tested == [f"3.{minor}" for minor in range(int(low), int(high))]


def test_every_dependency_has_its_reason():
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Why these dependencies")[2]
    packages = re.findall(r"^\| ([^|]+) \|", section.partition("\n## ")[0], re.MULTILINE)
    explained = {name for cell in packages for name in re.findall(r"[\w-]+", cell)}
    extras = PROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PROJECT["project"]["dependencies"], *(r for extra in extras for r in extra)]:
        name = re.match(r"[\w-]+", requirement)[0]
        assert name in explained or name.startswith("types-"), name


def test_the_changelog_has_the_version_and_its_date():
    text = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)\]? - \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert released[0] == PROJECT["project"]["version"]
    sections = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_docker_image_downloads_the_assets(monkeypatch):
    text = (ROOT / "docker" / "Dockerfile").read_text()
    (code,) = re.findall(r'python -c "(.*?)" \$\{ASSETS\}', text)
    (names,) = re.findall(r'^ARG ASSETS="(.*)"$', text, re.MULTILINE)
    found = []
    monkeypatch.setattr(released, "find_asset", lambda asset, given, folder: found.append(asset))
    monkeypatch.setattr(sys, "argv", ["-c", *names.split()])
    exec(code, {})
    assert found == [released.WEIGHTS, released.PCA_PARAMS, released.CLASS_LABELS]

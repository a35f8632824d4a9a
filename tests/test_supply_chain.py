"""What is installed, built and run is what was reviewed: hashes, commits, digests, a user with few rights."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from pipeline.assets.released import CLASS_LABELS, PCA_PARAMS, WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
DOCKERFILES = sorted((ROOT / "docker").rglob("Dockerfile"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))
SCRIPTS = [ROOT / "run_local.sh", *sorted((ROOT / ".ci").iterdir())]
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")
REQUIREMENT = re.compile(r"[\w.-]+(\[[\w, -]+\])?==[\w.+!]+( ; .+)?")


def entries(lock: Path) -> list[tuple[str, list[str]]]:
    """(requirement, lines of its hashes) of each entry."""
    lines = [line.removesuffix(" \\") for line in lock.read_text().splitlines() if not line.startswith("#")]
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith(" "):
            found[-1][1].append(line)
        else:
            found.append((line, []))
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_entry_of_a_lock_has_a_version_and_hashes_and_no_host(lock):
    found = entries(lock)
    assert found and "://" not in lock.read_text()
    for requirement, hashes in found:
        assert REQUIREMENT.fullmatch(requirement), requirement
        assert hashes and all(HASH.fullmatch(line) for line in hashes), requirement
    # With NAME[EXTRA] alone, older pips take NAME for not locked.
    names = {re.split(r"[=\[]", requirement)[0] for requirement, _ in found}
    plain = {requirement.split("==")[0] for requirement, _ in found}
    assert names <= plain


def test_locks_of_all_uses_agree_on_versions():
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for requirement, _ in entries(lock):
            name, _, rest = requirement.partition("==")
            versions.setdefault(re.sub(r"\[.*", "", name), set()).add(f"{lock.name}: {rest.split(' ')[0]}")
    main = {
        name: {v.split(": ")[1] for v in found if v.startswith("requirements.lock")}
        for name, found in versions.items()
    }
    for name, found in versions.items():
        assert not main[name] or {v.split(": ")[1] for v in found} <= main[name], (name, found)


def test_the_lock_has_files_for_every_platform():
    """NumPy's wheels: three Pythons, by far more than the platform of whoever made the lock."""
    numbers = [
        len(hashes)
        for requirement, hashes in entries(ROOT / "requirements.lock")
        if requirement.startswith("numpy==")
    ]
    assert numbers and min(numbers) > 20


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *DOCKERFILES, *WORKFLOWS], ids=lambda path: str(path.relative_to(ROOT))
)
def test_packages_are_installed_by_their_hashes(path):
    """Each pip command installs a lock by its hashes, or the project itself without dependencies."""
    text = path.read_text().replace("\\\n", " ")
    commands = re.findall(r'(?:pip install|"\$\{pip\[@\]\}")[^\n&|]*', text)
    if path.name in ("run_local.sh", "Dockerfile") and "flex" not in path.parts:
        assert len(commands) >= 3
    for command in commands:
        # How to get the tool that makes locks, in a comment; and what `"${pip[@]}"` stands for.
        if command.startswith(("pip install uv", "pip install --quiet --python")):
            continue
        assert "--require-hashes" in command or "--no-deps" in command or command.endswith("check)"), command
        assert "build.lock" in command or "--no-build-isolation" in command or command.endswith("check)"), (
            command
        )


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_containers_by_digest(path):
    text = path.read_text()
    uses = re.findall(r"uses:\s*(.*)", text)
    assert uses
    for line in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    for job in yaml.safe_load(text)["jobs"].values():
        image = job.get("container", "")
        image = image if isinstance(image, str) else image["image"]
        assert not image or "@sha256:" in image, image
        for entry in job.get("strategy", {}).get("matrix", {}).get("include", []):
            assert re.fullmatch("[0-9a-f]{64}", entry["digest"])


def stages(dockerfile: Path) -> list[tuple[str, str, str]]:
    """(base, name if any, commands) of each stage."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return re.findall(r"^FROM (\S+)(?: AS (\w+))?\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_are_pinned_by_digest_and_run_without_root(path):
    found = stages(path)
    names = {name for _, name, _ in found}
    for base, _, _ in found:
        is_argument = base.startswith("${")  # the image that the builder names
        assert is_argument or base in names or re.search(r"@sha256:[0-9a-f]{64}$", base), base
    used = {base for base, _, _ in found} | set(re.findall(r"COPY --from=(\w+)", path.read_text()))
    images = [commands for _, name, commands in found if name not in used]
    assert images
    for commands in images:
        user = re.findall(r"^USER (.*)", commands, re.MULTILINE)[-1]
        argument = re.fullmatch(r"\$\{(\w+)\}", user)[1]
        assert int(re.search(rf"^ARG {argument}=(\d+)$", commands, re.MULTILINE)[1]) > 0


def test_the_images_install_exactly_the_locks():
    found = {name: commands for _, name, commands in stages(ROOT / "docker" / "Dockerfile")}
    locks = {
        name: re.findall(r"--require-hashes .*?/tmp/(\S+)", commands) for name, commands in found.items()
    }
    assert {name: names for name, names in locks.items() if names} == {
        "packages": ["requirements-build.lock", "requirements.lock"],
        "gpu": ["requirements-gpu.lock"],
    }
    for name in ("cpu", "gpu"):
        assert "COPY --from=project /opt/project " in found[name]
        assert "COPY --from=project /opt/assets " in found[name]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_lock_of_the_gpu_image_only_adds_to_that_of_the_cpu_image(machine):
    """The GPU image installs it on top; pip must not replace a package."""
    (version,) = re.findall(r"Python (3\.\d+)\.\d+; the index", (ROOT / "docker" / "Dockerfile").read_text())
    image = {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": "linux"}

    def versions(lock: str) -> dict[str, str]:
        found = [Requirement(requirement) for requirement, _ in entries(ROOT / lock)]
        environment = {**image, "platform_machine": machine}
        return {r.name: str(r.specifier) for r in found if not r.marker or r.marker.evaluate(environment)}

    cpu, gpu = versions("requirements.lock"), versions("requirements-gpu.lock")
    assert "tensorflow" in cpu and any(name.startswith("nvidia-") for name in gpu)
    assert {name: gpu[name] for name in gpu.keys() & cpu.keys()} == {
        name: cpu[name] for name in gpu.keys() & cpu.keys()
    }


def test_the_image_builds_the_boot_program_of_the_locked_version_of_beam():
    (version,) = re.findall(r"sdks/v2/python/container@v(\S+)", (ROOT / "docker" / "Dockerfile").read_text())
    locked = {name for lock in LOCKS for name, _ in entries(lock) if name.startswith("apache-beam=")}
    assert locked == {f"apache-beam=={version}"}


@pytest.mark.parametrize("asset", [WEIGHTS, PCA_PARAMS, CLASS_LABELS], ids=lambda asset: asset.name)
def test_released_files_are_fetched_over_https_and_checked(asset):
    assert asset.url.startswith("https://") and re.fullmatch("[0-9a-f]{64}", asset.sha256)


def test_no_source_fetches_over_http():
    for folder in ("pipeline", "transforms", "examples", "docker", "configs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".json") or path.name == "Dockerfile":
                # A host that the user names, and the namespaces of XML, are no download.
                found = re.findall(r"http://(?!localhost|127\.|HOST|[{])[\w.]+/", path.read_text())
                assert not [host for host in found if "w3.org" not in host], path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(path):
    is_python = path.read_text().startswith("#!/usr/bin/env python3")
    if is_python:
        compile(path.read_text(), str(path), "exec")
    else:
        assert subprocess.run(["bash", "-n", path]).returncode == 0


def test_the_policy_says_how_to_report_and_what_is_promised():
    policy = (ROOT / "SECURITY.md").read_text()
    for heading in (
        "Report a vulnerability",
        "Supported versions",
        "What is promised",
        "How hostile audio is read",
    ):
        assert f"## {heading}" in policy
    for path in re.findall(r"`((?:transforms|tests|docs|\.ci|docker)/[\w./]*)`", policy):
        assert (ROOT / path).exists(), path

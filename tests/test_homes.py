"""Processes whose home cannot hold caches: none at all, absent, read-only, full, another user's."""

import functools
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT

from transforms.homes import PRIVATE_VARIABLE, READ_ONLY_CACHE_VARIABLE

VARIABLES = ("HOME", "XDG_CACHE_HOME", "KERAS_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
# What a process of ours finds, and whether it can write there.
REPORT = f"""
import json, os, stat, sys
import transforms
print(json.dumps({{
    "environment": dict(os.environ),
    "writes": {{name: os.access(os.path.dirname(os.environ[name]) or name, os.W_OK)
                for name in {VARIABLES!r} if name in os.environ}},
    "mode": stat.S_IMODE(os.stat(os.environ["{PRIVATE_VARIABLE}"]).st_mode)
            if "{PRIVATE_VARIABLE}" in os.environ else None,
}}))
"""
# A user id without an entry in the passwd file, which yet owns what this process's user owns.
NOBODY = ("unshare", "--user", "--map-user=54321", "--map-group=54321")


@functools.cache
def has_user_namespaces() -> bool:
    return (
        bool(shutil.which("unshare"))
        and subprocess.run([*NOBODY, "true"], capture_output=True).returncode == 0
    )


def run_odd(script: str, *, tmp: Path, prefix: tuple[str, ...] = (), **environment: str):
    """Runs a script in an empty environment, with its own folders for work and for temporary files."""
    place, here = tmp / "tmp", tmp / "here"
    place.mkdir(exist_ok=True)
    here.mkdir(exist_ok=True)
    variables = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), **environment}
    command = [*prefix, sys.executable, "-c", script]
    result = subprocess.run(command, env=variables, cwd=here, capture_output=True, text=True, timeout=300)
    assert not list(here.iterdir()), "left in the working folder"
    return result


def look(tmp: Path, **options) -> tuple[dict, str]:
    result = run_odd(REPORT, tmp=tmp, **options)
    assert result.returncode == 0, result.stderr
    assert not list((tmp / "tmp").iterdir()), "the private folder is removed at the end"
    return json.loads(result.stdout), result.stderr


def check_private(found: dict, said: str, tmp: Path) -> str:
    private = found["environment"][PRIVATE_VARIABLE]
    assert Path(private).parent == tmp / "tmp" and found["mode"] == 0o700
    assert said.count("\n") == 1 and private in said and "To keep them, set" in said
    assert all(found["writes"].values())
    return private


def test_a_usable_home_is_used_without_a_message(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    found, said = look(tmp_path, HOME=str(home))
    assert not said and PRIVATE_VARIABLE not in found["environment"]
    assert found["environment"]["HOME"] == str(home) and not list(home.iterdir())


@pytest.mark.parametrize("kind", ["absent", "file", "relative"])
def test_a_home_that_is_not_a_folder_is_replaced(kind, tmp_path):
    (tmp_path / "file").touch()
    home = {"absent": "/nonexistent", "file": str(tmp_path / "file"), "relative": "~"}[kind]
    found, said = look(tmp_path, HOME=home)
    private = check_private(found, said, tmp_path)
    assert all(found["environment"][name].startswith(private) for name in VARIABLES)


@pytest.mark.skipif(not has_user_namespaces(), reason="no user namespaces")
def test_a_user_id_without_an_entry_and_without_a_home(tmp_path):
    found, said = look(tmp_path, prefix=NOBODY)
    private = check_private(found, said, tmp_path)
    assert "user id 54321 has no home" in said
    assert all(found["environment"][name].startswith(private) for name in VARIABLES)


@pytest.mark.skipif(os.geteuid() == 0 and not has_user_namespaces(), reason="root writes everywhere")
def test_a_read_only_home_is_read_and_caches_are_elsewhere(tmp_path):
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    for folder in (home / ".cache", home):
        folder.chmod(0o555)
    found, said = look(tmp_path, prefix=NOBODY if os.geteuid() == 0 else (), HOME=str(home))
    private = check_private(found, said, tmp_path)
    assert found["environment"]["HOME"] == str(home)  # credentials may be there
    assert found["environment"][READ_ONLY_CACHE_VARIABLE] == str(home / ".cache")
    assert all(found["environment"][name].startswith(private) for name in VARIABLES[1:])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    "mode, group, is_used", [(0o755, 54321, False), (0o777, 54321, False), (0o775, 0, True)]
)
def test_another_users_home_is_not_written(mode, group, is_used, tmp_path):
    """A home that our group may write to is usable: images for any user id have one."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 54321, group)
    home.chmod(mode)
    found, said = look(tmp_path, HOME=str(home))
    if is_used:
        assert not said and PRIVATE_VARIABLE not in found["environment"]
    else:
        check_private(found, said, tmp_path)
        assert f"{home} belongs to another user" in said and found["environment"]["HOME"] == str(home)
    assert not list(home.iterdir())


@pytest.mark.skipif(os.geteuid() != 0 or not has_user_namespaces(), reason="only root mounts")
def test_a_full_home(tmp_path):
    """On a disk of two blocks, one of which the root folder takes."""
    home = tmp_path / "home"
    home.mkdir()
    mount = f'mount -t tmpfs -o size=4k tmpfs {home} && (head -c 4096 /dev/zero > {home}/x) && exec "$@"'
    found, said = look(tmp_path, prefix=("unshare", "--mount", "sh", "-c", mount, "sh"), HOME=str(home))
    check_private(found, said, tmp_path)
    assert "No space left" in said


def test_a_cache_folder_of_the_users_is_kept_and_a_broken_one_replaced(tmp_path):
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    found, _ = look(tmp_path, HOME="/nonexistent", XDG_CACHE_HOME=str(cache), KERAS_HOME=str(cache / "k"))
    assert found["environment"]["XDG_CACHE_HOME"] == str(cache)
    assert found["environment"]["KERAS_HOME"] == str(cache / "k")
    (tmp_path / "file").touch()
    found, said = look(tmp_path, HOME=str(home), XDG_CACHE_HOME=str(tmp_path / "file" / "cache"))
    assert found["environment"]["XDG_CACHE_HOME"].startswith(check_private(found, said, tmp_path))
    assert "set XDG_CACHE_HOME" in said and "KERAS_HOME" not in found["environment"]


def test_weights_in_a_cache_that_can_only_be_read_are_found(tmp_path, monkeypatch):
    from pipeline.assets.released import WEIGHTS, find_asset
    from transforms.storage.shared_files import SharedFile, cache_folder, sha256_of

    there = tmp_path / "image" / "audioset-beam" / WEIGHTS.file_name
    there.parent.mkdir(parents=True)
    there.write_bytes(b"weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "private"))
    monkeypatch.setenv(READ_ONLY_CACHE_VARIABLE, str(tmp_path / "image"))
    assert cache_folder().is_relative_to(tmp_path / "private")
    assert find_asset(WEIGHTS, None, None) == str(there)
    elsewhere = SharedFile(f"/launcher/{WEIGHTS.file_name}", sha256_of(str(there)))
    assert elsewhere.local_path() == str(there)


CHILDREN = f"""
import os, subprocess, sys
import transforms
own = os.environ["{PRIVATE_VARIABLE}"]
child = "import os, transforms; print(os.environ['{PRIVATE_VARIABLE}'])"
print(own, subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
"""


def test_processes_share_the_folder_of_the_first(tmp_path):
    result = run_odd(CHILDREN, tmp=tmp_path, HOME="/nonexistent")
    own, childs = result.stdout.split()
    assert own == childs and not Path(own).exists() and result.stderr.count("\n") == 1


def test_the_folder_of_a_killed_process_is_removed_but_not_that_of_a_running_one(tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TMPDIR": str(place), "HOME": "/nonexistent"}
    script = "import sys, transforms; print('ready', flush=True); sys.stdin.read()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    try:
        assert all(process.stdout.readline() == b"ready\n" for process in processes)
        folders = set(place.iterdir())
        assert len(folders) == 2 and all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folders)
        processes[0].kill()
        processes[0].wait()
        result = run_odd("import transforms", tmp=tmp_path, HOME="/nonexistent")
        assert result.returncode == 0 and len(list(place.iterdir())) == 1
        processes[1].communicate(timeout=60)
        assert not list(place.iterdir())
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.integration
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_a_run_without_a_home_in_ascii_with_names_in_no_encoding(mode, tmp_path):
    from sounds import write_noise

    home = {} if has_user_namespaces() else {"HOME": "/nonexistent"}
    corpus, place, here = tmp_path / "corpus", tmp_path / "tmp", tmp_path / "here"
    for folder in (corpus, place, here):
        folder.mkdir()
    here.chmod(0o555)
    write_noise(corpus / "caf\u00e9.wav", 1.0, 16_000, seed=1)
    os.rename(write_noise(corpus / "x.wav", 1.0, 16_000, seed=2), os.fsencode(corpus) + b"/\xff.wav")
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(place),
        "LC_ALL": "C.UTF-8",
        "PYTHONIOENCODING": "ascii",
        **home,
    }
    command = [*(NOBODY if has_user_namespaces() else ()), sys.executable, "-m", "pipeline.run"]
    options = ["--weights=random:0", "--pca_params=none", "--postprocess=raw", "--max_reject_fraction=1"]
    options += [f"--input={corpus}/*", f"--output={tmp_path / 'out'}", f"--direct_running_mode={mode}"]
    workers = ["--direct_num_workers=2"] if mode == "multi_processing" else []
    result = subprocess.run(
        [*command, *options, *workers], env=environment, cwd=here, capture_output=True, timeout=300
    )
    error = result.stderr.decode("ascii")
    assert result.returncode == 0, error
    assert "Traceback" not in error and error.count("caches are in") == 1
    assert "written 1 + rejected 1" in result.stdout.decode("ascii")
    left = [path.name for path in place.iterdir()]
    assert not [name for name in left if "audioset-beam-home" in name or "matplotlib" in name], left
    assert not list(here.iterdir())

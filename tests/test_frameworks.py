"""TensorFlow and Keras are imported in one order, by one thread, and without what they do not need."""

import ast
import os
import subprocess
import sys

import pytest
from commands import ROOT

CHILD = """
import gc, sys, transforms.frameworks as frameworks
assert frameworks.tf.__version__ and frameworks.keras.__version__ and gc.isenabled()
loaded = {'jax', 'matplotlib', 'sklearn', 'IPython'} & sys.modules.keys()
assert not loaded, loaded
print("lean")
import matplotlib
print("later")
"""
PARENT = """
import subprocess, sys
from transforms.quiet_import import hide_messages

hide_messages()
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""


@pytest.fixture(scope="module")
def imported():
    """A process of a command that has imported the frameworks, as Beam's workers do."""
    environment = {name: value for name, value in os.environ.items() if name != "AUDIOSET_BEAM_QUIET"}
    return subprocess.run(
        [sys.executable, "-c", PARENT, CHILD],
        cwd=ROOT,
        env={**environment, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )


def test_packages_that_are_not_needed_are_not_imported_and_can_be_imported_later(imported):
    assert (imported.returncode, imported.stdout.split()) == (0, ["lean", "later"]), imported.stderr


def test_processes_of_a_command_import_tensorflow_without_messages(imported):
    """As the fork server of `pipeline.verify` and Beam's workers do."""
    assert imported.stderr == ""


def test_only_one_module_of_the_stages_imports_tensorflow_and_keras_first():
    """If two threads import different ones first, they find half-imported modules."""
    known = {"frameworks", "keras", "tf"}
    for path in sorted((ROOT / "transforms").rglob("*.py")):
        if path.name == "frameworks.py":
            continue
        safe = False
        for node in ast.parse(path.read_text()).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            safe |= module == "transforms.frameworks"
            heavy = any(
                name.split(".")[0] in ("tensorflow", "keras", "tensorflow_transform", "tfx_bsl")
                for name in [*names, module]
            )
            assert safe or not heavy, f"{path}: take {sorted(known)} from transforms.frameworks"


THREADS = """
import faulthandler, importlib, threading
faulthandler.dump_traceback_later(240, exit=True)
modules = ["vggish.model", "features.existing_records", "audio_shards.read_tfrecord", "vggish.fused"]
barrier, errors = threading.Barrier(len(modules)), []

def load(name):
    barrier.wait()
    try:
        importlib.import_module(f"transforms.{name}")
    except BaseException as error:
        errors.append((name, error))

threads = [threading.Thread(target=load, args=(name,)) for name in modules]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not errors, errors
"""


@pytest.mark.integration
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_stages_are_imported_in_several_threads_at_once(backend, tmp_path):
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "KERAS_BACKEND": backend,
    }
    command = [sys.executable, "-c", THREADS]
    result = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr

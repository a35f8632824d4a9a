"""Settings and fixtures for all tests."""

import functools
import gc
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
# Commands in a test's terminal print what they print elsewhere, without colours and waiting lines.
os.environ["TERM"] = "dumb"
# Some tests compare bits, which differ between backends: a user's keras.json must not choose.
os.environ["KERAS_BACKEND"] = "tensorflow"
# Networks that run at the same time on the same cores wait for each other's threads.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ.get(
    "TF_NUM_INTRAOP_THREADS",
    str(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))),
)

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")


# Files that take longest. If one of them started last, one process would run it alone at the end.
LONG = {
    # Unit tests, tens of seconds each.
    *("test_adversary.py", "test_checkpoint.py", "test_ending.py", "test_export_model.py"),
    *("test_feature_folder.py", "test_isolation.py", "test_model.py", "test_resume.py", "test_sources.py"),
    "test_write.py",
    # Integration tests, minutes each.
    *("test_ends.py", "test_faults.py", "test_flink.py", "test_statistics.py"),
}


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Look for no garbage among the modules of TensorFlow, Beam and the tests, which stay until the end.

    It would take a tenth of the time of the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, *gc.get_threshold()[1:])  # graphs of Beam are many small objects
        gc.enable()


def pytest_collection_modifyitems(items):
    """Put long files first. The option --no-loadscope-reorder keeps xdist from sorting by number of tests."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder beside the project: goldens, recordings and released files."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("no ../shared")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """The goldens that are part of the project."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session", autouse=True)
def random_weights_once():
    """Make the weights `random:0` once, read-only: they take more than a second of CPU time per use."""
    from transforms.vggish import checkpoint

    make = checkpoint._random_variable
    made = {}

    @functools.wraps(make)
    def make_once(seed, name):
        if seed != 0:
            return make(seed, name)
        if name not in made:
            made[name] = make(seed, name)
            made[name].flags.writeable = False
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "_random_variable", make_once)
        yield


@pytest.fixture(scope="session")
def random_weights(random_weights_once):
    from transforms.vggish.checkpoint import read_weights

    return read_weights("random:0")


@pytest.fixture(scope="session")
def embedder(quick_runs):
    """The network of runs with `random:0` in batches of 8."""
    from transforms.embed_examples import VggishModelHandler

    return quick_runs(VggishModelHandler("random:0", 8))


@pytest.fixture(scope="session", autouse=True)
def quick_runs():
    """Makes runs in this process quicker.

    They share loaded models and what Beam finds out, fork their decoder processes, do not wait until a lock
    is settled, and write no report, which has its own tests. The value makes the network of a handler.
    """
    import quick_beam
    from decoder_server import fork_decoders

    from pipeline import report
    from pipeline.output import lock
    from transforms.beam_internals import cache_construction
    from transforms.embed_examples import VggishModelHandler

    load = VggishModelHandler.make_model
    models = {}

    def load_once(handler):
        key = handler._weights, handler._batch_size, handler._precision
        if key not in models:
            models[key] = load(handler)
        return models[key]

    cache_construction()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VggishModelHandler, "make_model", load_once)
        quick_beam.remember(patch)
        fork_decoders(patch)
        patch.setattr(lock, "_SETTLE_S", 0.01)
        patch.setattr(report, "write_report", lambda *_: None)
        yield load_once


@pytest.fixture(scope="module")
def small_batches():
    """Make 8 the default batch size instead of 64, whose padding takes 1.5 s of CPU time per clip.

    `vggish/test_model.py` tests that the bits are the same.
    """
    from transforms.vggish.model import Embedder

    _, precision = Embedder.__init__.__defaults__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder.__init__, "__defaults__", (8, precision))
        yield


@pytest.fixture(scope="module")
def stand_in_network(quick_runs):
    """Replace the network by a stand-in, for modules that test the code around it.

    The network takes 0.2 s of CPU time per batch, even for one example.
    """
    from stand_in import StandIn

    from transforms.embed_examples import VggishModelHandler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VggishModelHandler, "make_model", lambda handler: StandIn())
        yield

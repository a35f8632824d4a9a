"""TensorFlow and Keras, imported in one order, by one thread, without packages that they do not need here.

Each of them imports the other. If one thread imports TensorFlow first and another Keras, both find
half-imported modules and fail. Beam's workers unpickle stages in several threads. So every module imports
TensorFlow and Keras from this one: Python makes a second thread wait until this module is imported
completely, but it does not wait for the parent of a module.
"""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from transforms.quiet_import import hidden_messages, hides_messages


@contextmanager
def _lean_import() -> Iterator[None]:
    """Keep TensorFlow and Keras from importing installed packages that this project does not use with them.

    scikit-learn, IPython and JAX would take 0.17 GB of memory in each worker process, and its first seconds.
    Matplotlib and garbage collection during the imports would take a third of a command's start-up time. The
    LLVM of PyTorch's Triton 3.9 and that of TensorFlow 2.21 abort the process. Code that needs one of these
    packages imports it later.
    """
    names = {"IPython", "matplotlib", "sklearn", "triton"}
    if os.environ.get("KERAS_BACKEND", "jax") != "jax":  # if unset, Keras's configuration file may select JAX
        names.add("jax")
    names -= sys.modules.keys()
    collects = gc.isenabled()
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: as if not installed
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        for name in names:
            del sys.modules[name]


with hidden_messages(), _lean_import():
    with suppress(ModuleNotFoundError):  # Keras has other backends
        import tensorflow as tf

        if hides_messages():
            tf.config.list_physical_devices()  # prints a message if there is no GPU
            tf.get_logger().setLevel(logging.ERROR)
    import keras

__all__ = ["keras", "tf"]

"""TensorFlow and Keras, imported in one order, by one thread.

Each imports the other. If two threads begin with different ones, they meet half-imported modules and fail.
Beam's workers unpickle stages in several threads. So every module takes TensorFlow and Keras from this one:
Python lets a second thread wait until this module is whole, but not until the parent of a module is.
"""

from contextlib import suppress

with suppress(ModuleNotFoundError):  # Keras has other backends
    import tensorflow as tf
    from tensorflow.core.example.example_pb2 import Example, SequenceExample
    from tensorflow.core.example.feature_pb2 import Feature
import keras

__all__ = ["Example", "Feature", "SequenceExample", "keras", "tf"]

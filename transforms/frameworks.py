"""TensorFlow and Keras, imported in one order, by one thread.

Each of them imports the other. If one thread imports TensorFlow first and another Keras, both find
half-imported modules and fail. Beam's workers unpickle stages in several threads. So every module imports
TensorFlow and Keras from this one: Python makes a second thread wait until this module is imported
completely, but it does not wait for the parent of a module.
"""

from contextlib import suppress

with suppress(ModuleNotFoundError):  # Keras has other backends
    import tensorflow as tf
    from tensorflow.core.example.example_pb2 import Example, SequenceExample
    from tensorflow.core.example.feature_pb2 import Feature
import keras

__all__ = ["Example", "Feature", "SequenceExample", "keras", "tf"]

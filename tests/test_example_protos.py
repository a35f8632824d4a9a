"""The messages are TensorFlow's: the same bytes in both directions."""

import hypothesis
import pytest
from hypothesis import strategies as st
from tensorflow.core.example import example_pb2, feature_pb2

from transforms import example_protos

FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=5)
INTEGERS = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5)
BYTES = st.lists(st.binary(max_size=200), max_size=5)
FEATURES = st.one_of(
    st.tuples(st.just("float_list"), FLOATS),
    st.tuples(st.just("int64_list"), INTEGERS),
    st.tuples(st.just("bytes_list"), BYTES),
    st.just(("", [])),
)
MAPS = st.dictionaries(st.text(max_size=8), FEATURES, max_size=5)


def fill(feature, kind: str, values: list) -> None:
    if kind:
        getattr(feature, kind).SetInParent()
        getattr(feature, kind).value.extend(values)


def build(module, context: dict, lists: dict):
    example = module.SequenceExample()
    for name, (kind, values) in context.items():
        example.context.feature[name].SetInParent()
        fill(example.context.feature[name], kind, values)
    for name, features in lists.items():
        example.feature_lists.feature_list[name].SetInParent()
        for kind, values in features:
            fill(example.feature_lists.feature_list[name].feature.add(), kind, values)
    return example


@hypothesis.given(MAPS, st.dictionaries(st.text(max_size=8), st.lists(FEATURES, max_size=5), max_size=3))
def test_sequence_examples_have_the_bytes_of_tensorflow(context, lists):
    ours, theirs = (build(module, context, lists) for module in (example_protos, example_pb2))
    data = ours.SerializeToString(deterministic=True)
    assert data == theirs.SerializeToString(deterministic=True)
    assert example_protos.SequenceExample.FromString(data) == ours
    assert example_pb2.SequenceExample.FromString(data) == theirs


@hypothesis.given(MAPS)
def test_examples_have_the_bytes_of_tensorflow(features):
    examples = []
    for module in (example_protos, example_pb2):
        example = module.Example()
        for name, (kind, values) in features.items():
            example.features.feature[name].SetInParent()
            fill(example.features.feature[name], kind, values)
        examples.append(example.SerializeToString(deterministic=True))
    assert examples[0] == examples[1]


@hypothesis.given(st.binary(max_size=100))
def test_bytes_that_are_no_message_are_refused_alike(data):
    results = []
    for kind in (example_protos.SequenceExample, example_pb2.SequenceExample):
        try:
            results.append(kind.FromString(data).SerializeToString(deterministic=True))
        except Exception as error:
            results.append(type(error).__name__)
    assert results[0] == results[1]


@pytest.mark.parametrize("name", ["Feature", "Example", "SequenceExample"])
def test_fields_have_the_numbers_and_types_of_tensorflow(name):
    theirs = getattr(feature_pb2 if name == "Feature" else example_pb2, name).DESCRIPTOR
    ours = getattr(example_protos, name).DESCRIPTOR
    shape = [(field.name, field.number, field.type, field.is_repeated) for field in ours.fields]
    assert shape == [(field.name, field.number, field.type, field.is_repeated) for field in theirs.fields]
    assert ours.full_name == theirs.full_name

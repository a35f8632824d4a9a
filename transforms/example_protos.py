"""The protocol buffer messages `tf.train.Example` and `SequenceExample`, without importing TensorFlow.

Numbers and types of the fields are those of tensorflow/core/example/feature.proto and example.proto. The
messages are in a pool of their own, so that TensorFlow can register its own in the same process. The same
fields give the same bytes.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tensorflow"
_FILE = descriptor_pb2.FileDescriptorProto(name="example_protos.proto", package=_PACKAGE, syntax="proto3")
_Field = descriptor_pb2.FieldDescriptorProto


def _add_message(name: str) -> descriptor_pb2.DescriptorProto:
    return _FILE.message_type.add(name=name)


def _add_list(name: str, kind: Any) -> None:
    message = _add_message(name)
    field = message.field.add(name="value", number=1, type=kind, label=_Field.LABEL_REPEATED)
    if kind != _Field.TYPE_BYTES:
        field.options.packed = True


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, **more: Any
) -> None:
    label = more.pop("label", _Field.LABEL_OPTIONAL)
    type_name = f".{_PACKAGE}.{kind}"
    message.field.add(
        name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=type_name, label=label, **more
    )


def _add_map(message: descriptor_pb2.DescriptorProto, name: str, kind: str) -> None:
    """Adds field 1: a map from text to messages."""
    entry = message.nested_type.add(name="".join(map(str.capitalize, name.split("_"))) + "Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    _add_field(entry, "value", 2, kind)
    _add_field(message, name, 1, f"{message.name}.{entry.name}", label=_Field.LABEL_REPEATED)


def _messages() -> dict[str, Any]:
    for name, kind in (
        ("BytesList", _Field.TYPE_BYTES),
        ("FloatList", _Field.TYPE_FLOAT),
        ("Int64List", _Field.TYPE_INT64),
    ):
        _add_list(name, kind)
    feature = _add_message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("bytes", "float", "int64"), 1):
        _add_field(feature, f"{kind}_list", number, f"{kind.capitalize()}List", oneof_index=0)
    _add_map(_add_message("Features"), "feature", "Feature")
    _add_field(_add_message("FeatureList"), "feature", 1, "Feature", label=_Field.LABEL_REPEATED)
    _add_map(_add_message("FeatureLists"), "feature_list", "FeatureList")
    _add_field(_add_message("Example"), "features", 1, "Features")
    sequence = _add_message("SequenceExample")
    _add_field(sequence, "context", 1, "Features")
    _add_field(sequence, "feature_lists", 2, "FeatureLists")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_FILE)
    return message_factory.GetMessageClassesForFiles([_FILE.name], pool)


_CLASSES = _messages()
Example: Any = _CLASSES[f"{_PACKAGE}.Example"]
Feature: Any = _CLASSES[f"{_PACKAGE}.Feature"]
SequenceExample: Any = _CLASSES[f"{_PACKAGE}.SequenceExample"]

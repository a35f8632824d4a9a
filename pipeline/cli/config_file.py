"""A YAML file's options as flags, and options as a YAML file."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline.cli.flags import AddOptions, all_options, nearest, without_secrets
from transforms.errors import SettingError
from transforms.printable import printable
from transforms.storage.filesystems import FILE_ERRORS, open_to_read

# Of a file of options: many times what all of them take; and a list is in a mapping.
_MAX_BYTES, _MAX_DEPTH = 1 << 20, 8


def config_flags(path: str | None, argv: Sequence[str], add_own: AddOptions) -> list[str]:
    """The options of a YAML file as flags, without those that the command line gives.

    Raises:
      SettingError: the file cannot be read, or has an option that neither the command nor Beam has.
    """
    if path is None:
        return []
    parser = all_options(add_own)
    given = {flag.split("=")[0].removeprefix("--") for flag in argv if flag.startswith("--")}
    flags = []
    for key, value in _read_yaml(path).items():
        action = parser._option_string_actions.get(f"--{key}")
        if action is None or key == "config":
            raise SettingError(f"config {path}: unknown option {key!r}{nearest(str(key), parser, '')}")
        if key in given or value is None or value is False:
            continue
        if isinstance(value, Mapping) or (isinstance(value, bool) and action.nargs != 0):
            raise SettingError(f"config {path}: {key} is {value!r}; give a value as on the command line")
        if action.nargs == 0:
            flags.append(f"--{key}")
        else:
            flags += [f"--{key}={item}" for item in (value if isinstance(value, list) else [value])]
    return flags


def config_text(
    values: Mapping[str, Any], beam_flags: Sequence[str], path: str | None, argv: Sequence[str]
) -> str:
    """All options as a YAML file, with where each comes from.

    Args:
      values: a command's own options.
      beam_flags: Beam's that were given; secrets are left out.
      path: of the YAML file that was read; None if there was none.
      argv: the command line.
    """
    given = {flag.split("=")[0].removeprefix("--") for flag in argv if flag.startswith("--")}
    in_file = set(_read_yaml(path)) if path else set()
    parsed = vars(all_options(lambda parser: None).parse_known_args(without_secrets(beam_flags))[0])
    names = [flag.split("=")[0].removeprefix("--") for flag in beam_flags if flag.startswith("--")]
    lines = []
    for name, value in [*values.items(), *((n, parsed[n]) for n in dict.fromkeys(names) if n in parsed)]:
        origin = "command line" if name in given else path if name in in_file else "default"
        lines.append(f"{_yaml_line(name, value)}  # {printable(origin or '')}")
    return "\n".join(lines)


def _yaml_line(name: str, value: Any) -> str:
    """An option as YAML that loads as the same value; what is not fit to print is escaped as YAML does."""

    def dump(unicode: bool) -> str:
        text = yaml.safe_dump({name: value}, default_flow_style=True, width=1 << 20, allow_unicode=unicode)
        return text.strip("{}\n ")

    text = dump(True)
    return text if text == printable(text) else dump(False)


def _check_size(text: bytes) -> None:
    """Raises ValueError if a file is larger, deeper, or grows to more than options can be."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
    depth, line = 0, 1
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else line
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line}: aliases, such as *{event.anchor}, are not read")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"line {line}: it is nested more than {_MAX_DEPTH} deep")


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        with open_to_read(path) as file:  # a pipe too, as <(...) is
            text = file.read(_MAX_BYTES + 1)
        _check_size(text)
        values = yaml.safe_load(text)
    except (*FILE_ERRORS, yaml.YAMLError, ValueError, RecursionError) as error:
        cause = " ".join(str(error).split())
        raise SettingError(f"config {path}: cannot be read ({cause}); check the path and the YAML") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingError(f"config {path}: holds no options; write one a line, as 'batch_size: 64'")
    return values

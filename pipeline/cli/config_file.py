"""Converts the options of a YAML file to flags, and options to a YAML file."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline.cli.flags import all_options, nearest, parse_given
from pipeline.cli.parser import AddOptions
from transforms.errors import SettingError
from transforms.printable import printable
from transforms.redact import HIDDEN, shown, shown_option
from transforms.secret_names import is_secret_option

# Limits of a file of options, far above what all options need. Lists in a mapping have depth 2.
_MAX_BYTES, _MAX_DEPTH = 1 << 20, 8


def config_flags(path: str | None, argv: Sequence[str], add_own: AddOptions) -> list[str]:
    """Returns the options of a YAML file as flags, without those that the command line overrides.

    Raises:
      SettingError: the file cannot be read, or has an unknown option.
    """
    if path is None:
        return []
    parser, given = all_options(add_own), _names(argv)
    flags = []
    values, lines = _read_yaml(path)
    for key, value in values.items():
        where = f"config {path}, line {lines[key]}"
        action = parser._option_string_actions.get(f"--{key}")
        if action is None or key == "config":
            name = key.split("=")[0] if isinstance(key, str) else key
            raise SettingError(f"{where}: unknown option {name!r}{nearest(str(name), parser, '')}")
        if key in given or value is None or value is False:
            continue
        if isinstance(value, Mapping) or (isinstance(value, bool) and action.nargs != 0):
            shown_value = HIDDEN if is_secret_option(key) else repr(value)
            raise SettingError(f"{where}: {key} is {shown_value}; give a value as on the command line")
        if action.nargs == 0:
            flags.append(f"--{key}")
        else:
            own = [f"--{key}={item}" for item in (value if isinstance(value, list) else [value])]
            try:
                parser.parse_known_args(own)
            except SettingError as error:
                raise SettingError(f"{where}: {str(error).removeprefix('argument ')}") from error
            flags += own
    return flags


def config_text(
    values: Mapping[str, Any], beam_flags: Sequence[str], path: str | None, argv: Sequence[str]
) -> str:
    """Returns all options as the text of a YAML file, with the origin of each.

    An option with a secret becomes a comment without the secret. Otherwise the file could be used with the
    placeholder instead of the secret.

    Args:
      values, beam_flags: the command's own options, and the given options of Beam.
      path: path of the YAML file that was read; None if there was none.
    """
    given = _names(argv)
    in_file = set(_read_yaml(path)[0]) if path else set()
    parsed = _beam_values(beam_flags)
    rows = [(name, value, shown(value)) for name, value in values.items()]
    beams = {option.name: option for option in parse_given(beam_flags, lambda parser: None)[0]}
    for name, option in beams.items():
        value = parsed[option.destination]
        if option.value is None:
            value = True
        elif isinstance(value, Mapping):  # a file contains it in the form of the command line
            value = option.value
        rows.append((name, value, shown_option(option.destination, value)))
    lines = []
    for name, value, visible in rows:
        origin = "command line" if name in given else path if name in in_file else "default"
        text, origin = _yaml_line(name, visible), printable(shown(origin or ""))
        is_secret = visible != (list(value) if isinstance(value, tuple) else value)
        lines.append(f"# {text}  # {origin}; a secret, set it again" if is_secret else f"{text}  # {origin}")
    return "\n".join(lines)


def _beam_values(beam_flags: Sequence[str]) -> dict[str, Any]:
    if not beam_flags:
        return {}
    from pipeline.cli.beam_values import parse_beam_flags  # imports Beam, which takes seconds

    return vars(parse_beam_flags(beam_flags))


def _names(argv: Sequence[str]) -> set[str]:
    return {flag.split("=")[0].removeprefix("--") for flag in argv if flag.startswith("--")}


def _yaml_line(name: str, value: Any) -> str:
    """Returns an option as YAML that loads as the same value; unprintable characters are escaped."""

    def dump(unicode: bool) -> str:
        text = yaml.safe_dump({name: value}, default_flow_style=True, width=1 << 20, allow_unicode=unicode)
        return text.strip("{}\n ")

    text = dump(True)
    return text if text == printable(text) else dump(False)


def _check_size(text: bytes) -> None:
    """Raises ValueError if a file is too large, too deep, or has aliases, which could expand to more."""
    if len(text) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
    depth, line = 0, 1
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else line
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(
                f"line {line}: aliases are not supported; put quotes around a value that begins with *"
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"line {line}: it is nested more than {_MAX_DEPTH} levels deep")


def _read_yaml(path: str) -> tuple[dict[Any, Any], dict[Any, int]]:
    """Returns the options of a file, and the line of each."""
    try:
        text = _read(path)
        _check_size(text)
        values = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        cause = _yaml_cause(error) if isinstance(error, yaml.YAMLError) else " ".join(str(error).split())
        raise SettingError(f"config {path}: cannot be read ({cause}); check the path and the YAML") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise SettingError(
            f"config {path}: contains no options; write one per line, such as 'batch_size: 64'"
        )
    root, loader = yaml.compose(text, yaml.SafeLoader), yaml.SafeLoader("")
    assert isinstance(root, yaml.MappingNode)
    # A key that stands twice has its last value.
    return values, {loader.construct_object(key): key.start_mark.line + 1 for key, _ in root.value}


def _read(path: str) -> bytes:
    """Returns the first bytes of a file, which may be a pipe, such as <(...)."""
    if "://" not in path:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES + 1)
    from transforms.storage.filesystems import FILE_ERRORS, open_to_read  # imports Beam, which takes seconds

    try:
        with open_to_read(path) as file:
            return file.read(_MAX_BYTES + 1)
    except FILE_ERRORS as error:
        raise OSError(error) from error


def _yaml_cause(error: yaml.YAMLError) -> str:
    """Returns what is wrong and where, without the line itself and names in it, which may be secrets."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    if not isinstance(problem, str):
        return f"{where}not valid YAML"
    # The problem quotes a tag, alias or anchor, which may be the beginning of a secret without quotes.
    quoted = r"'(?!<)[^']{2,}'" if isinstance(error, yaml.scanner.ScannerError) else r"(['\"])(?!<).{2,}\1"
    return where + re.sub(quoted, "'...'", problem)

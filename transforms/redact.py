"""Hides secrets in options, addresses and texts. Only this module and `secret_names` decide what is shown.

A secret is shown as `***`. Every output passes one of these functions:

| value | function | used for |
|---|---|---|
| an option of Beam, by destination | `shown_option` | manifests, --print_config |
| text, and lists and mappings of it | `shown` | options and assets in manifests and reports, JSON |
| a text | `shown_text` | errors, logs, all printed text, lists of rejects |
| an address | `shown_address` | paths in the cache of downloads |

A library's message may repeat a secret in any form. So secrets that `remember_option`, `remember_address` and
`remember_environment` have seen are hidden in every text of this process, in all forms that libraries print.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from transforms.secret_names import PAIR_OPTIONS, SECRET_OPTIONS, is_secret_name, is_secret_option

HIDDEN = "***"

# Words in names of environment variables. "key" alone is not one, since many names have it without a secret.
_SECRET_VARIABLES = re.compile(
    r"secret|token|passw|credential|connection_?string|(api|access|account|private|shared|sas)_?key",
    re.IGNORECASE,
)
# Ends of names of variables whose value is the location of a secret, not the secret.
_LOCATIONS = re.compile(r"(file|path|dir|folder|home|sock|uri|url|endpoint)$", re.IGNORECASE)

# Beam's filesystems, in whose paths and globs a question mark is an ordinary character.
_FILESYSTEMS = frozenset({"gs", "s3", "hdfs", "azfs", "file"})
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"'<>`]+")
# User and password with an unescaped slash: the text after the colon is not a port number.
_UNESCAPED = re.compile(r"[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^\s]*@")
_PARAMETER = re.compile(r"(?<=[?&;])([\w.\-%\[\]]+)=([^&\s\"'<>`]*)")
_PAIR = re.compile(r"(?P<name>[\w.\-]+)=(?P<value>.*)", re.DOTALL)
# The value of an option as Python, JSON, YAML and a command line print it. A sentence follows `--option:`.
_NAMES = "|".join(sorted(SECRET_OPTIONS))
_OPTION_VALUE = re.compile(
    rf"(?P<name>\b(?:{_NAMES})(?::v1)?(?:\s*=\s*|\\*['\"]\s*[:,]\s*)|(?<![-\w])(?:{_NAMES}):\s+)"
    r"(?:(?P<quote>\\*['\"]).*?(?<!\\)(?P=quote)|[^\s,;}\]]+)"
)
# Punctuation after an address in a sentence.
_PUNCTUATION = ").,;:]}"

# Minimum lengths. Shorter secrets are hidden only in their own option or address, not in all texts.
_MIN_REMEMBERED = 8
_MIN_UNNAMED = 20  # for values of an address's parameters whose name does not suggest a secret
_MIN_OF_ADDRESS = 3

_remembered: dict[str, str] = {}
_pattern: re.Pattern[str] | None = None


def shown_option(name: str, value: Any) -> Any:
    """Return the text or parsed value of one of Beam's options, by its destination, without secrets."""
    return _hide_in_option(name, value, lambda secret: None)


def remember_option(name: str, value: Any) -> None:
    """Hide the secrets in the value of one of Beam's options in all texts of this process."""
    _hide_in_option(name, value, _remember)
    remember_addresses(value)


def remember_addresses(value: Any) -> None:
    """Hide the secrets in all addresses of a text, list or mapping; see `remember_address`."""
    for text in _texts(value):
        for address in [text] if _ADDRESS.match(text) else _ADDRESS.findall(text):
            remember_address(address)


def remember_address(address: str) -> None:
    """Hide the user, password and parameters of an address in all texts of this process.

    Libraries also print an address without its server, with escaped characters, or with the password in
    Base64, as it is sent.
    """
    shown_form = shown_address(address)
    if shown_form == address:
        return
    _add(address, shown_form)
    scheme, user_info, rest = _split(address)
    if user_info:
        user, colon, password = user_info.partition(":")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        _remember(password if colon else user)
        for text in (password, user_info):  # if a library takes the password for a port
            _add(f"{text}@{host}", f"{HIDDEN}@{host}")
        _add(user_info, HIDDEN)
        _remember(base64.b64encode(unquote(user_info).encode()).decode())
    if scheme.lower() in _FILESYSTEMS:
        return
    _, slash, target = rest.partition("/")
    if slash and "?" in target:
        path, _, query = target.partition("?")
        for form in (query, quote(query, safe="!#$%&'()*+,/:;=?@[]~")):
            _add(f"/{path}?{form}", f"/{path}?{_shown_query(query)}")
        for name, value in _PARAMETER.findall(f"?{query.partition('#')[0]}"):
            if is_secret_name(name) or (len(value) >= _MIN_UNNAMED and not re.search(r"[/.]", value)):
                _remember(value)


def remember_environment(environment: Mapping[str, str]) -> None:
    """Hide secrets of environment variables in all texts of this process.

    These are the values of variables whose name suggests a secret, and secrets in addresses, such as of
    proxies.
    """
    for name, value in environment.items():
        if "://" in value:
            remember_address(value)
        elif _SECRET_VARIABLES.search(name) and not (_LOCATIONS.search(name) or value.startswith(("/", "~"))):
            _remember(value)


def shown(value: Any) -> Any:
    """Return a text, list or mapping without secrets; other values do not change."""
    if isinstance(value, str):
        return shown_text(shown_address(value) if _ADDRESS.match(value) else value)
    if isinstance(value, Mapping):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def shown_text(text: str, address: str = "") -> str:
    """Return a text without secrets; hiding them twice gives the same text.

    A library may print any part of `address`, the address that the text is about.
    """
    user_info = _split(address)[1] or ""
    parts = {user_info, *user_info.partition(":"), unquote(user_info), *re.split("[/?#]", user_info)}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _MIN_OF_ADDRESS:
            text = text.replace(part, HIDDEN)
    if _pattern is not None:
        text = _pattern.sub(lambda match: _remembered[match[0]], text)
    if "://" in text:
        text = _ADDRESS.sub(lambda match: _in_sentence(match[0], shown_address), text)
    if "=" in text:
        text = _PARAMETER.sub(_shown_parameter, text)
    if "_" in text:
        text = _OPTION_VALUE.sub(lambda match: match["name"] + HIDDEN, text)
    return text


def shown_address(address: str) -> str:
    """Return an address without user and password, and without the values of its parameters.

    In `gs://` and Beam's other filesystems, a `?` is part of the path. There, only user and password are
    hidden, and parameters whose name suggests a secret.
    """
    scheme, user_info, rest = _split(address)
    if user_info is not None:
        rest = f"{HIDDEN}@{rest}"
    if scheme.lower() in _FILESYSTEMS:
        return _PARAMETER.sub(_shown_parameter, f"{scheme}://{rest}")
    rest, question, query = rest.partition("?")
    rest, hash_sign, _ = rest.partition("#")
    if hash_sign:
        return f"{scheme}://{rest}#{HIDDEN}"
    return f"{scheme}://{rest}{question}{_shown_query(query) if question else ''}"


def _split(address: str) -> tuple[str, str | None, str]:
    """Return scheme, user and password, and the rest; a password may contain unescaped characters."""
    scheme, _, rest = address.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        user_info = authority.rpartition("@")[0]
    elif match := _UNESCAPED.match(rest):
        user_info = match[0][:-1]
    else:
        return scheme, None, rest
    return scheme, user_info, rest[len(user_info) + 1 :]


def _shown_query(query: str) -> str:
    query, hash_sign, _ = query.partition("#")
    parts = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        parts.append(f"{name}={HIDDEN}" if equals else HIDDEN if part else "")
    return "&".join(parts) + (f"#{HIDDEN}" if hash_sign else "")


def _shown_parameter(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    if not is_secret_name(unquote(name)):
        return f"{name}={_PARAMETER.sub(_shown_parameter, value)}"  # a connection string has several pairs
    return f"{name}=" + _in_sentence(value, lambda _: HIDDEN)


def _in_sentence(text: str, show: Callable[[str], str]) -> str:
    """Apply `show` to a word without the punctuation after it."""
    word = text.rstrip(_PUNCTUATION)
    return show(word) + text[len(word) :]


def _hide_in_option(name: str, value: Any, on_secret: Callable[[str], None]) -> Any:
    """Return the value of an option without secrets; call `on_secret` with each secret."""
    if isinstance(value, Mapping):
        # Each key decides about its value, except in an option that is secret as a whole.
        is_whole = is_secret_option(name) or name in PAIR_OPTIONS
        items = value.items()
        return {key: _hide_in_option(name if is_whole else str(key), item, on_secret) for key, item in items}
    if isinstance(value, list | tuple):
        return [_hide_in_option(name, item, on_secret) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if is_secret_option(name):
        on_secret(str(value))
        return HIDDEN
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.dumps(_hide_in_option(name, json.loads(value), on_secret))
        except (ValueError, RecursionError):
            on_secret(value)
            return HIDDEN
    parts = value.split(",")
    pairs = map(_PAIR.fullmatch, parts)
    if name in PAIR_OPTIONS or any(pair and is_secret_name(pair["name"]) for pair in pairs):
        return ",".join(_hide_in_pair(name, part, on_secret) for part in parts)
    return shown(value)


def _hide_in_pair(name: str, part: str, on_secret: Callable[[str], None]) -> str:
    pair = _PAIR.fullmatch(part)
    if name not in PAIR_OPTIONS and not (pair and is_secret_name(pair["name"])):
        return shown(part)
    on_secret(pair["value"] if pair else part)
    return f"{pair['name']}={HIDDEN}" if pair else HIDDEN


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _remember(secret: str) -> None:
    for part in secret.split(";"):  # of a connection string
        name, equals, value = part.partition("=")
        if equals and is_secret_name(name.strip()):
            _remember(value)
        elif not equals and ":" in part:  # of --gbek
            _remember(part.partition(":")[2])
    for form in (secret, secret.strip(), unquote(secret)):
        for printed in (form, quote(form, safe=""), quote(form), html.escape(form), repr(form)[1:-1]):
            _add(printed, HIDDEN)
        _add(json.dumps(form)[1:-1], HIDDEN)


def _add(secret: str, shown_as: str) -> None:
    global _pattern
    if len(secret) < _MIN_REMEMBERED or secret in _remembered or HIDDEN in secret:
        return
    _remembered[secret] = shown_as
    longest_first = sorted(_remembered, key=lambda text: -len(text))
    _pattern = re.compile("|".join(map(re.escape, longest_first)))

"""What may be shown of options, addresses and texts: this module alone decides it.

A secret is shown as `***`. Every output goes through one of these functions:

| what | function | used for |
|---|---|---|
| an option of Beam, by its destination | `shown_option` | manifests, --print_config |
| text, and lists and mappings of it | `shown` | options and assets in manifests and reports, JSON |
| a text | `shown_text` | errors, logs, all that is printed, the lists of rejects |
| an address | `shown_address` | the place in the cache where it is downloaded |

A text of a library may repeat a secret in any form. So what `remember_option`, `remember_address` and
`remember_environment` have seen is hidden in every text of this process, in the forms that libraries print.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "***"

# Options of Beam whose whole value is a secret: by destination, not by the words of a command line.
SECRET_OPTIONS = frozenset(
    {
        "azure_connection_string",
        "gbek",  # how to get the key that encrypts what is grouped
        "s3_access_key_id",
        "s3_secret_access_key",
        "s3_session_token",
    }
)
# Options of Beam that hand on variables and properties to other programs: names are shown, values are not.
PAIR_OPTIONS = frozenset(
    {
        "environment_options",
        "job_server_jvm_properties",
        "profiler_extra_args",
        "profiler_extra_env_vars",
    }
)
# Options of Beam that are named like a secret, and are none.
PUBLIC_OPTIONS = frozenset(
    {
        "dataflow_kms_key",  # the path of a key in Google's service
        "gcp_oauth_scopes",  # names of rights
    }
)

# Words in the names of options, parameters, variables and JSON keys; `sig` and such only as the whole name.
_SECRET_WORDS = re.compile(
    r"key|secret|token|passw|passphrase|credential|connection_?string|auth(?!or)|signature|private",
    re.IGNORECASE,
)
_SECRET_NAMES = frozenset({"sig", "pwd", "pass", "pw", "sas", "code", "upload_id", "googleaccessid", "env"})
# In the names of environment variables, of which many have a key that is none.
_SECRET_VARIABLES = re.compile(
    r"secret|token|passw|credential|connection_?string|(api|access|account|private|shared|sas)_?key",
    re.IGNORECASE,
)
# Those whose value is a place, not the secret in it.
_PLACES = re.compile(r"(file|path|dir|folder|home|sock|uri|url|endpoint)$", re.IGNORECASE)

# Beam's filesystems, for which a question mark is a part of a path or a glob.
_FILESYSTEMS = frozenset({"gs", "s3", "hdfs", "azfs", "file"})
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"'<>`]+")
# A password with an unescaped slash: what looks like a port is no number.
_UNESCAPED = re.compile(r"[^/?#@\[]*:(?!\d*(?:[/?#]|$))[^\s]*@")
_PARAMETER = re.compile(r"(?<=[?&;])([\w.\-%\[\]]+)=([^&\s\"'<>`]*)")
_PAIR = re.compile(r"(?P<name>[\w.\-]+)=(?P<value>.*)", re.DOTALL)
# How Python, JSON, YAML and a command line print the value of an option. Behind `--option:` is a sentence.
_NAMES = "|".join(sorted(SECRET_OPTIONS))
_OPTION_VALUE = re.compile(
    rf"(?P<name>\b(?:{_NAMES})(?::v1)?(?:\s*=\s*|\\*['\"]\s*[:,]\s*)|(?<![-\w])(?:{_NAMES}):\s+)"
    r"(?:(?P<quote>\\*['\"]).*?(?<!\\)(?P=quote)|[^\s,;}\]]+)"
)
# Punctuation behind an address in a sentence.
_PUNCTUATION = ").,;:]}"

# Shorter secrets are hidden where an option or an address says what they are, and not in every word.
_MIN_REMEMBERED = 8
_MIN_UNNAMED = 20
_MIN_OF_ADDRESS = 3

_remembered: dict[str, str] = {}
_pattern: re.Pattern[str] | None = None


def is_secret_name(name: str) -> bool:
    """Whether what has this name is taken for a secret, where no table says more."""
    return name.lower() in _SECRET_NAMES or bool(_SECRET_WORDS.search(name))


def is_secret_option(name: str) -> bool:
    """Whether an option of Beam has a value that is a secret as a whole; new ones are, if they sound so."""
    return name in SECRET_OPTIONS or (is_secret_name(name) and name not in PUBLIC_OPTIONS | PAIR_OPTIONS)


def shown_option(name: str, value: Any) -> Any:
    """The value of one of Beam's options, as it may be shown; not for a flag without a value.

    Args:
      name: the option's destination.
      value: text as on the command line, or what Beam parsed it to.
    """
    return _without(name, value, lambda secret: None)


def remember_option(name: str, value: Any) -> None:
    """Has the secrets in the value of one of Beam's options hidden in all texts of this process."""
    _without(name, value, _remember)
    remember_addresses(value)


def remember_addresses(value: Any) -> None:
    """Has the secrets in all addresses of a text, list or mapping hidden; see `remember_address`."""
    for text in _texts(value):
        for address in [text] if _ADDRESS.match(text) else _ADDRESS.findall(text):
            remember_address(address)


def remember_address(address: str) -> None:
    """Has the user, password and parameters of an address hidden in all texts of this process.

    Libraries print an address without its server too, with its signs escaped, and with the password as
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
        for text in (password, user_info):  # where a library takes the password for a port
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
    """Has the secrets of environment variables hidden in all texts of this process: those that are named so,
    and of proxies user and password."""
    for name, value in environment.items():
        if "://" in value:
            remember_address(value)
        elif _SECRET_VARIABLES.search(name) and not _PLACES.search(name) and not value.startswith(("/", "~")):
            _remember(value)


def shown(value: Any) -> Any:
    """Text, a list or a mapping, as it may be shown; numbers stay as they are."""
    if isinstance(value, str):
        return shown_text(shown_address(value) if _ADDRESS.match(value) else value)
    if isinstance(value, Mapping):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(item) for item in value]
    return value


def shown_text(text: str, address: str = "") -> str:
    """A text with the secrets in it hidden; a text that was shown before stays as it is.

    Args:
      text: of any origin.
      address: what the text is about, of which a library may print any part.
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
    """An address without its user and password, and with its parameters' names alone.

    Of `gs://` and Beam's other filesystems, where a `?` is a part of the path, only the user and password are
    hidden, and the parameters that are named as a secret.
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
    """Scheme, user and password, and the rest; a password may have signs in it that should be escaped."""
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
        return f"{name}={_PARAMETER.sub(_shown_parameter, value)}"  # of a connection string more stand in it
    return f"{name}=" + _in_sentence(value, lambda _: HIDDEN)


def _in_sentence(text: str, show: Callable[[str], str]) -> str:
    """What is shown of a word, with the punctuation behind it."""
    word = text.rstrip(_PUNCTUATION)
    return show(word) + text[len(word) :]


def _without(name: str, value: Any, found: Callable[[str], None]) -> Any:
    """The value of an option without its secrets, each of which is found."""
    if isinstance(value, Mapping):
        return {key: _without(_inner(name, str(key)), item, found) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without(name, item, found) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if is_secret_option(name):
        found(str(value))
        return HIDDEN
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.dumps(_without(name, json.loads(value), found))
        except (ValueError, RecursionError):
            found(value)
            return HIDDEN
    pairs = [_PAIR.fullmatch(part) for part in value.split(",")]
    if name in PAIR_OPTIONS or any(pair and is_secret_name(pair["name"]) for pair in pairs):
        named = zip(value.split(","), pairs, strict=True)
        return ",".join(_without_value(name, part, pair, found) for part, pair in named)
    return shown(value)


def _without_value(name: str, part: str, pair: re.Match[str] | None, found: Callable[[str], None]) -> str:
    if pair is None:
        if name in PAIR_OPTIONS:
            found(part)
            return HIDDEN
        return shown(part)
    if name in PAIR_OPTIONS or is_secret_name(pair["name"]):
        found(pair["value"])
        return f"{pair['name']}={HIDDEN}"
    return shown(part)


def _inner(name: str, key: str) -> str:
    """The name that the value of a key in an option's JSON goes by; all below a secret one is secret."""
    return name if is_secret_option(name) or name in PAIR_OPTIONS else key


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

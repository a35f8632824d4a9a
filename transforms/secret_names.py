"""Decides by name whether a value is a secret: options of Beam, parameters, variables and JSON keys."""

import re

# Options of Beam whose whole value is a secret, by destination (not by command-line flag).
SECRET_OPTIONS = frozenset(
    {
        "azure_connection_string",
        "gbek",  # how to get the key that encrypts grouped elements
        "s3_access_key_id",
        "s3_secret_access_key",
        "s3_session_token",
    }
)
# Options of Beam that pass NAME=VALUE pairs to other programs: names are shown, values are hidden.
PAIR_OPTIONS = frozenset(
    {"environment_options", "job_server_jvm_properties", "profiler_extra_args", "profiler_extra_env_vars"}
)
# Options of Beam whose name suggests a secret, but whose value is public.
PUBLIC_OPTIONS = frozenset(
    {
        "dataflow_kms_key",  # the path of a key in Google's service
        "gcp_oauth_scopes",  # names of permissions
    }
)

# Words anywhere in a name, and whole names.
_SECRET_WORDS = re.compile(
    r"key|secret|token|passw|passphrase|credential|connection_?string|auth(?!or)|signature|private",
    re.IGNORECASE,
)
_SECRET_NAMES = frozenset({"sig", "pwd", "pass", "pw", "sas", "code", "upload_id", "googleaccessid", "env"})


def is_secret_name(name: str) -> bool:
    """Return whether the name of a parameter, variable or JSON key suggests a secret value."""
    return name.lower() in _SECRET_NAMES or bool(_SECRET_WORDS.search(name))


def is_secret_option(name: str) -> bool:
    """Return whether the whole value of one of Beam's options is a secret; for new ones, by their name."""
    return name in SECRET_OPTIONS or (is_secret_name(name) and name not in PUBLIC_OPTIONS | PAIR_OPTIONS)

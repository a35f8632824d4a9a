import pytest

from transforms.secret_names import (
    PAIR_OPTIONS,
    PUBLIC_OPTIONS,
    SECRET_OPTIONS,
    is_secret_name,
    is_secret_option,
)


@pytest.mark.parametrize(
    "name", ["api_key", "X-Amz-Signature", "PASSWORD", "sig", "Sas", "env", "authToken", "connectionstring"]
)
def test_names_that_suggest_a_secret(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["author", "generation", "signal", "code_version", "environment", "passes"])
def test_names_that_do_not(name):
    assert not is_secret_name(name)


def test_tables_take_precedence_over_names():
    assert all(map(is_secret_option, SECRET_OPTIONS))
    assert not any(map(is_secret_option, PUBLIC_OPTIONS | PAIR_OPTIONS))
    assert "gbek" in SECRET_OPTIONS and not is_secret_name("gbek")
    assert is_secret_option("new_access_token") and not is_secret_option("region")

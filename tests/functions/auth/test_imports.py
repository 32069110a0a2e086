"""A function of auth loads only what it uses."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("function", "unneeded"),
    [
        ("jwks", ["argon2", "urllib3"]),
        ("token_key", ["argon2", "urllib3"]),
        ("check_token", ["argon2", "urllib3"]),
        ("user_find", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("user_edit", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("users_list", ["argon2", "urllib3", "functions.auth.tokens"]),
        ("registration", ["jwt", "Cryptodome", "functions.auth.tokens"]),
        ("finish_registrations", ["argon2", "jwt", "Cryptodome"]),
        ("purge", ["argon2", "jwt", "Cryptodome", "urllib3"]),
        ("set_password", ["urllib3", "functions.auth.tokens"]),
    ],
)
def test_a_function_loads_nothing_that_it_does_not_use(function, unneeded):
    assert loaded_by(f"functions.auth.{function}").isdisjoint(unneeded)


def loaded_by(module):
    """The names of the modules that importing one brings in."""
    program = f"import sys, {module}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())

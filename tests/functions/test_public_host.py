"""What the public host does not show."""

import pytest

from tests.clients import without
from tests.functions.paths import ADD
from triggers.stack import load


@pytest.mark.parametrize("path", sorted({path for one in load() if one.caller == "internal" for path in one.paths}))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_internal_paths_are_unknown_to_the_public_host(gateway, admin_token, path, method):
    answer = gateway.request(method, path, json={}, token=admin_token)
    assert answer.status == 404
    assert without(answer.json, "timestamp") == {"status": 404, "error": "Not Found", "path": path}


@pytest.mark.parametrize("name", [one.name for one in load()])
@pytest.mark.parametrize("prefix", ["/function/", "/async-function/", "/"])
def test_no_function_is_reached_by_its_name_on_the_public_host(gateway, admin_token, prefix, name):
    assert gateway.post(prefix + name, json={}, token=admin_token).status == 404


@pytest.mark.parametrize(
    "path",
    [
        f"{ADD}//",
        ADD.upper(),
        "/nosuch",
        "/",
        "/_/ready",
    ],
)
def test_a_path_that_is_nobodys_is_unknown(gateway, guest, path):
    answer = gateway.post(path, json={"username": guest.username, "amount": 1}, token=guest.token)
    assert answer.status == 404

"""Bodies that were made to hurt: each is a refusal that is told, at every method that reads one."""

import pytest
from urllib3.util import make_headers

from tests.clients import API, FORM, as_json
from triggers.stack import load

HOSTILE = [
    '{"%s":1e500000}',
    '{"%s":1e99999999999999999999}',
    '{"%s":"\\ud800"}',
    '{"%s":' + "9" * 5000 + "}",
]
# Where a body's fields are, among all methods.
FIELDS = ["username", "amount", "quantity", "id", "nosuch"]


def methods(caller):
    """Method and path of every function of that caller that takes JSON."""
    found = [one for one in load() if one.caller == caller and one.method not in (None, "GET")]
    taken = [(one.method, path) for one in found for path in one.paths]
    # What takes no JSON: forms, and what a path says.
    return [(method, path) for method, path in taken if "/oauth/" not in path and "{" not in path]


@pytest.fixture(scope="module")
def tokens(new_user, admin_token):
    """A token for each kind of caller."""
    return {"public": None, "bearer": new_user().token, "admin": admin_token}


@pytest.mark.parametrize("caller", ["public", "bearer", "admin"])
def test_numbers_and_texts_that_nothing_can_hold_are_a_bad_request_everywhere(gateway, tokens, caller):
    for method, path in methods(caller):
        for text in HOSTILE:
            for field in FIELDS:
                body = text % field
                answer = gateway.request(method, path, data=body, headers=as_json(), token=tokens[caller])
                assert (400, True) == (answer.status, "expected JSON" in answer.text), (path, body[:40], answer.text)


@pytest.mark.parametrize("field", ["menuId", "count", "quantity", "deliveryHour", "amount", "discount"])
@pytest.mark.parametrize("number", ["1e399", '"1e500000"', '"1_0"', '"٥"', "-1e-300"])
def test_no_field_of_an_order_takes_a_number_out_of_all_proportion(gateway, tokens, field, number):
    text = f'{{"{field}":{number},"dishs":[{{"menuId":1,"count":1,"{field}":{number}}}]}}'
    answer = gateway.post(f"{API}/external/order", data=text, headers=as_json(), token=tokens["bearer"])
    assert 400 == answer.status
    assert f"{field}: expected" in answer.text


def test_a_list_of_hundreds_of_wrong_things_is_answered_in_a_few_lines(gateway, tokens):
    text = f'{{"dishs":[{",".join(["{}"] * 30_000)}]}}'
    answer = gateway.post(f"{API}/external/order", data=text, headers=as_json(), token=tokens["bearer"])
    assert (400, True) == (answer.status, "dishs: expected 1 to 100 dishes, got a list" in answer.text)
    answer = gateway.post(
        f"{API}/external/order", json={"dishs": [{}] * 100}, headers=as_json(), token=tokens["bearer"]
    )
    assert (400, True) == (answer.status, len(answer.text) < 2000)


def test_a_body_beyond_the_limit_is_refused_unread(gateway, tokens):
    answer = gateway.post(
        f"{API}/external/order", data="[" + "{}," * 45_000, headers=as_json(), token=tokens["bearer"]
    )
    assert 413 == answer.status


@pytest.mark.parametrize("header", ["W10", "W1tb" * 1000, "eyJraWQiOltdfQ", "bnVsbA", "IiI", "_w"])
def test_a_token_that_is_made_to_hurt_is_a_wrong_token(gateway, header):
    answer = gateway.post(f"{API}/external/menu", json={}, token=f"{header}.e30.AA")
    assert (401, "invalid_token") == (answer.status, answer.json["error"])


BAD_FORMS = ["username=%ff", "username=\0", "=", "grant_type=password&username=%ED%A0%80", "&&&"]


@pytest.mark.parametrize("body", BAD_FORMS)
def test_a_form_that_is_no_text_is_refused(gateway, oauth_client, body):
    headers = make_headers(basic_auth=":".join(oauth_client)) | {"Content-Type": FORM}
    assert gateway.post("/oauth/token", data=body, headers=headers).status == 400

"""Requests that every internal function refuses."""

import pytest

from tests.clients import as_json
from tests.functions.paths import INTERNAL


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_is_only_posted_to(system, name):
    answer = system.function(name).get()
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize("name", INTERNAL)
@pytest.mark.parametrize("text", ['{"username": ', "", '"text"', "7", '{"username": 7, "orderIds": 7}'])
def test_an_internal_function_refuses_what_it_cannot_read(system, name, text):
    answer = system.function(name).post(data=text, headers=as_json())
    assert (answer.status, answer.json["status"]) == (400, "ERROR")
    assert "expected" in answer.json["error"]


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_takes_json_only(system, name):
    assert system.function(name).post(data="{}", headers={"Content-Type": "text/plain"}).status == 415


@pytest.mark.parametrize("name", INTERNAL)
def test_an_internal_function_refuses_a_huge_body(system, name):
    assert system.function(name).post(json=["x" * 2_000_000]).status == 413

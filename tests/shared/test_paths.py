"""One translation of a path's template, for functions, gateway and manifests."""

import re

import pytest

from functions.shared.paths import expression


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/a/users/{id}", "/a/users/7", True),
        ("/a/users/{id}", "/a/users/7/", True),
        ("/a/users/{id}", "/a/users/имя-1.x", True),
        ("/a/users/{id}", "/a/users/", False),
        ("/a/users/{id}", "/a/users/7/8", False),
        ("/a/users/{id}/{flag}", "/a/users/7/true", True),
        ("/.well-known/jwks.json", "/.well-known/jwks.json", True),
        ("/.well-known/jwks.json", "/xwell-known/jwksxjson", False),
    ],
)
def test_a_placeholder_is_one_segment_and_all_else_is_itself(template, path, matches):
    assert matches == bool(re.fullmatch(expression(template), path))
    assert matches == bool(re.fullmatch(expression(template, named=True), path))


def test_a_named_placeholder_is_found_by_its_name():
    found = re.fullmatch(expression("/users/{id}/{flag}", named=True), "/users/7/true")
    assert {"id": "7", "flag": "true"} == found.groupdict()


def test_a_dash_is_not_escaped_because_re2_would_not_read_it():
    assert "/ui-api/[^/]+/?" == expression("/ui-api/{id}")

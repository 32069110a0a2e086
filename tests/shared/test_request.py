"""A request's headers: one name in any case, and what comes twice is one value."""

import pytest

from functions.shared.request import Headers

PAIRS = [
    ([], {}),
    ([("X-A", "1"), ("x-b", "é")], {"x-a": "1", "x-b": "é"}),
    ([("x-a", "1"), ("X-A", "2"), ("x-b", ""), ("x-a", "3")], {"x-a": "1, 2, 3", "x-b": ""}),
]


@pytest.mark.parametrize(("pairs", "expected"), PAIRS)
def test_headers_are_known_by_their_names_in_lower_case(pairs, expected):
    assert expected == Headers.of(pairs)
    assert expected == Headers.of_bytes([(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs])


def test_a_header_is_found_in_any_case():
    headers = Headers.of([("X-A", "1")])
    assert ("1", None, "-") == (headers.get("x-A"), headers.get("X-B"), headers.get("X-B", "-"))

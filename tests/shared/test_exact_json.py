"""JSON as everything here reads and writes it: exact money, and nothing that could not be worked with afterwards."""

from decimal import Decimal

import pytest

from functions.shared import exact_json


@pytest.mark.parametrize("text", ['{"a":39.00}', '{"a":0.10}', '{"a":"Тест"}', '{"a":-1.50,"b":[1,null,true]}'])
def test_json_keeps_places_and_letters(text):
    assert text == exact_json.dumps(exact_json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "{", ""])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        exact_json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1e500000", "more than 400 digits"),
        ("-1e500000", "more than 400 digits"),
        ("1e-500000", "more than 400 digits"),
        ("0e500000", "more than 400 digits"),
        ("1e99999999999999999999", "beyond all bounds"),
        ("9" * 401, "more than 400 digits"),
        ("9" * 5000, "more than 400 digits"),
        ("0." + "1" * 1_000_000, "more than 400 digits"),
        (r'"\ud800"', "half of a surrogate pair"),
        (r'"\udc00\ud800"', "half of a surrogate pair"),
        (r'{"\udfff":1}', "half of a surrogate pair"),
        (b'"\xed\xa0\x80"', "utf-8"),
        (b'"\xff"', "utf-8"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_nobody_could_work_with_is_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        exact_json.loads(text)


def test_refusals_do_not_grow_with_what_came():
    for text in ("9" * 1_000_000, "[" * 1_000_000, '"' + "x" * 1_000_000, "{" + "x" * 1_000_000):
        with pytest.raises(ValueError) as raised:
            exact_json.loads(text)
        assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e400", Decimal("1e400")),
        ("9" * 400, int("9" * 400)),
        ("0.10", Decimal("0.10")),
        ("-0", 0),
        (r'"\ud83c\udf55"', "🍕"),
        (r'"\\ud800"', r"\ud800"),
        (r'"\u0000"', "\0"),
        (b'"\xd0\xb6"', "ж"),
    ],
)
def test_what_is_unusual_and_clear_is_read(text, value):
    assert value == exact_json.loads(text)

"""JSON that keeps the places of its numbers."""


import pytest

from functions.shared import exact_json


@pytest.mark.parametrize("text", ['{"a":39.00}', '{"a":0.10}', '{"a":"Тест"}', '{"a":-1.50,"b":[1,null,true]}'])
def test_json_keeps_places_and_letters(text):
    assert text == exact_json.dumps(exact_json.loads(text))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "{", ""])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        exact_json.loads(text)

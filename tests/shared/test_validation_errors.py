"""A validation error as a text for people."""

import pytest
from pydantic import BaseModel, ValidationError

from functions.shared.validation_errors import explain


class Form(BaseModel):
    """A body."""

    count: int = 1
    password: int = 1
    email: int = 1
    name: str = ""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"count": "x"}, "count: expected a valid integer, unable to parse string as an integer, got 'x'"),
        ({"count": None}, "count: expected a valid integer, got null"),
        ({"name": True}, "name: expected a valid string, got true"),
        ({"name": [1]}, "name: expected a valid string, got a list"),
        ({"name": {}}, "name: expected a valid string, got an object"),
        ({"password": "x"}, "password: expected a valid integer, unable to parse string as an integer, "
                            "got a value that is not shown"),
        ({"email": "x"}, "email: expected a valid integer, unable to parse string as an integer, "
                         "got a value that is not shown"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_what_was_expected_and_came(body, text):
    with pytest.raises(ValidationError) as problem:
        Form.model_validate(body)
    assert text == explain(problem.value, hide=("email",))

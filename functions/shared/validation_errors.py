"""What a wrong field is answered with: the field's name, what was expected, what came."""

from typing import Any

from pydantic import ValidationError

SECRET_WORDS = ("password", "token", "secret")
SHOWN = 80
# Who sends a list of wrong things learns about the first of them; an answer does not grow with what was sent.
MOST_TOLD = 20


def explain(problem: ValidationError, hide: tuple[str, ...] = ()) -> str:
    """The wrong fields in one text, as clients know the fields: `dishs.0.menuId: expected ..., got 'x'`.

    Twenty of them at the most, and then how many more there are.

    `hide` names fields, beside the secret ones, whose values stay out: for texts that end up in a log.
    """
    shown = [_one(error, (*SECRET_WORDS, *hide)) for error in problem.errors(include_url=False)[:MOST_TOLD]]
    more = problem.error_count() - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _one(error: dict[str, Any], hidden: tuple[str, ...]) -> str:
    field = ".".join(str(part) for part in error["loc"])
    expected, got = _expected(error), _got(error, any(word in field.lower() for word in hidden))
    return f"{field}: {expected}, {got}" if field else f"{expected}, {got}"


def _expected(error: dict[str, Any]) -> str:
    if error["type"] == "missing":
        return "expected a value"
    text = error["msg"].removeprefix("Value error, ")
    for opening in ("Input should be ", "String should be ", "Value should be "):
        text = text.replace(opening, "expected ", 1)
    return text if text.startswith("expected") else f"expected another value: {text[:1].lower()}{text[1:]}"


def _got(error: dict[str, Any], hidden: bool) -> str:
    if error["type"] == "missing":
        return "got nothing"
    if hidden:
        return "got a value that is not shown"
    if isinstance(error["input"], dict | list):
        return f"got {'an object' if isinstance(error['input'], dict) else 'a list'}"
    shown = {None: "null", True: "true", False: "false"}.get(error["input"]) if _is_word(error["input"]) else None
    text = shown or (repr(error["input"][: SHOWN + 1]) if isinstance(error["input"], str) else str(error["input"]))
    return f"got {text if len(text) <= SHOWN else text[:SHOWN] + '…'}"


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, bool)

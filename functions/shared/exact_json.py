"""JSON in which money survives: decimals are written as numbers with their places and read back as Decimal.

What is read is bounded, so that whatever comes can be worked with afterwards: numbers that nothing here could mean
(`1e500000` takes a processor for seconds as soon as somebody asks for its digits) and text that no UTF-8 can carry
(one half of a surrogate pair) are refused like any other text that is no JSON.
"""

import re
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import simplejson

# More than a double needs, written out without an exponent.
LONGEST_NUMBER = 400
# Only text with an escape like this one can hold half of a pair.
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def dumps(value: Any, indent: int | None = None) -> str:
    """Write JSON; Decimal('0.00') becomes 0.00, text stays readable. On one line, unless `indent` is given."""
    return _encoder(indent).encode(value)


def loads(text: str | bytes) -> Any:
    """Read JSON; numbers with a point or an exponent become Decimal. Raises ValueError.

    For NaN and Infinity too, for numbers of more than 400 characters or beyond 1e400, and for half surrogate pairs.
    """
    text = text.decode() if isinstance(text, bytes) else text
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if SURROGATE.search(text):
        _check_text(value)
    return value


def _decimal(text: str) -> Decimal:
    if len(text) <= LONGEST_NUMBER:
        try:
            number = Decimal(text)
        except InvalidOperation:
            raise ValueError("a number has an exponent beyond all bounds") from None
        if abs(number.adjusted()) <= LONGEST_NUMBER:
            return number
    raise ValueError(f"a number has more than {LONGEST_NUMBER} digits")


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number has more than {LONGEST_NUMBER} digits")
    return int(text)


def _check_text(value: Any) -> None:
    try:
        dumps(value).encode()
    except UnicodeEncodeError:
        raise ValueError("a text has one half of a surrogate pair without the other") from None


# Both are made once: simplejson's functions make theirs at every call.
@cache
def _encoder(indent: int | None) -> simplejson.JSONEncoder:
    separators = (",", ":") if indent is None else (",", ": ")
    return simplejson.JSONEncoder(use_decimal=True, ensure_ascii=False, separators=separators, indent=indent)


_DECODER = simplejson.JSONDecoder(parse_float=_decimal, parse_int=_whole, allow_nan=False)

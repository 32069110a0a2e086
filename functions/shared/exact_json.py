"""JSON in which money survives: decimals are written as numbers with their places and read back as Decimal."""

from decimal import Decimal
from typing import Any

import simplejson


def dumps(value: Any, indent: int | None = None) -> str:
    """Write JSON; Decimal('0.00') becomes 0.00, text stays readable. On one line, unless `indent` is given."""
    separators = (",", ":") if indent is None else (",", ": ")
    return simplejson.dumps(value, use_decimal=True, ensure_ascii=False, separators=separators, indent=indent)


def loads(text: str | bytes) -> Any:
    """Read JSON; numbers with a point become Decimal. Raises ValueError, for NaN and Infinity too."""
    try:
        return simplejson.loads(text, parse_float=Decimal, allow_nan=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

"""A request as functions see it, whichever server took it: ours hands it over as it is, the framework's is copied.

So a function stands alone behind the functions framework, and costs no Flask application behind our own server.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

FORM = "application/x-www-form-urlencoded"


class TooLarge(Exception):
    """The body has more bytes than this function takes."""


class Unacceptable(Exception):
    """What came is not a CloudEvent that anybody could ever handle; the text says what was expected."""


class Headers(dict[str, str]):
    """Headers by their names in lower case; `get` takes any case."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "Headers":
        """From names and values as they came; what comes twice is joined by a comma."""
        headers = cls()
        for name, value in pairs:
            name = name.lower()
            headers[name] = f"{dict.__getitem__(headers, name)}, {value}" if name in headers else value
        return headers

    @classmethod
    def of_bytes(cls, pairs: Sequence[tuple[bytes, bytes]]) -> "Headers":
        """The same from bytes; hardly ever does anything come twice."""
        headers = cls({name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs})
        if len(headers) < len(pairs):
            return cls.of((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)
        return headers

    def get(self, name: str, default: Any = None) -> Any:
        """The header, or `default`."""
        return dict.get(self, name.lower(), default)


@dataclass
class Request:
    """Method, path, headers and the whole body."""

    method: str
    path: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    query_string: str = ""
    admitted: bool = False  # the server has waited for what the function would wait for
    is_ours: bool = False  # the server has seen that it comes from this installation

    @classmethod
    def of(cls, request: Any, largest: int) -> "Request":
        """A copy of a request of the framework (which is Flask's). Raises TooLarge."""
        if isinstance(request, cls):
            return request
        from werkzeug.exceptions import RequestEntityTooLarge

        request.max_content_length = largest
        try:
            body = request.get_data()
        except RequestEntityTooLarge:
            import io

            # The framework reads what is left of the body after the answer, and would fail on it again.
            request.stream = io.BytesIO()
            raise TooLarge from None
        query = request.query_string.decode("latin-1")
        return cls(request.method, request.path, Headers.of(request.headers.items()), body, query)

    @property
    def content_type(self) -> str:
        """The header, with its parameters."""
        return self.headers.get("content-type", "")

    @cached_property
    def mimetype(self) -> str:
        """The media type alone, in lower case."""
        return self.content_type.partition(";")[0].strip().lower()

    @cached_property
    def form(self) -> Mapping[str, str]:
        """The fields of a form; the first of a name counts. Raises ValueError where it is no UTF-8."""
        return _fields(self.body.decode())

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The fields after the path's question mark, as `form`."""
        return _fields(self.query_string)


def _fields(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    return dict(reversed(pairs))

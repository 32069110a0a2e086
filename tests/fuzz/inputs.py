"""Inputs by Hypothesis: JSON, events and HTTP, from nearly right to anything.

An input is the bytes that go over one connection, in the pieces in which they are sent. What is another in each
installation (tokens) has a placeholder, so that a seed gives the same inputs everywhere.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hypothesis import strategies as st

from functions.shared import exact_json
from schemas.events import ALL
from triggers.stack import by_event, load

GUEST = "fuzz-guest"
# Of orders that nobody has accepted, whose events are sent in any sequence.
EATER = "fuzz-eater"
ORDERS = [f"fuzz-{number}" for number in range(8)]
BATCH, STRUCTURED = "application/cloudevents-batch+json", "application/cloudevents+json"


@dataclass(frozen=True)
class Input:
    """`pieces` are sent one after the other; one that is not `whole` may be left without an answer."""

    target: str
    pieces: tuple[bytes, ...]
    whole: bool = True
    reads: bool = False

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)


# -- JSON, as text ---------------------------------------------------------------------------------------------

HOSTILE = [
    "null", "true", "0", "-1", "1.5", "-0.0", "1e500000", "-1e500000", "1e-500000", "1e99999999999999999999", "1e400",
    "9" * 400, "9" * 5000, "0." + "1" * 500, "NaN", "Infinity", "01", "1_000", '"1_000.50"', '"٣.٥0"', '"1e500000"',
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"a\\nb"', '"\\u202e"', '"é"', '"e\u0301"',
    '"%s%n"', "[]", "{}", "[[]]", '{"":{}}', '"31.02.2023"', '"01.01.0001"', '"31.12.9999"', '"\' OR 1=1 --"',
    '"' + "x" * 300 + '"', '"@"',
]  # fmt: skip


def _repeated(text: str, most: int, opening: str = "", ending: str = "") -> st.SearchStrategy[str]:
    return st.integers(1, most).map(lambda times: opening + text * times + ending)


BOMBS = st.one_of(
    _repeated("[", 200_000),
    _repeated('{"a":', 100_000),
    _repeated("[", 900).map(lambda text: text + "]" * len(text)),
    _repeated("{},", 40_000, "[", "{}]"),
    _repeated('{"a":1},', 15_000, "[", "{}]"),
    _repeated("1.0,", 30_000, "[", "1]"),
    _repeated("x", 300_000, '"', '"'),
    _repeated("\\u0436", 30_000, '"', '"'),
    st.integers(1, 10_000).map(lambda count: "{" + ",".join(f'"k{n}":{n}' for n in range(count)) + "}"),
)
SCALARS = st.one_of(
    st.sampled_from(HOSTILE),
    st.integers().map(str),
    st.floats().map(repr),
    st.text(max_size=40).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.text(st.characters(codec=None), max_size=10).map(json.dumps),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.dictionaries(st.text(max_size=8).map(json.dumps), inner, max_size=4).map(
            lambda items: "{" + ",".join(f"{name}:{value}" for name, value in items.items()) + "}"
        ),
    ),
    max_leaves=8,
)
# Bombs are large, and large inputs take long: one in twenty.
ANY = st.integers(0, 19).flatmap(lambda choice: BOMBS if choice == 0 else VALUES)


def _object(fields: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"


@st.composite
def mutated(draw: st.DrawFn, good: dict) -> str:
    """A JSON object that is good but for some fields: another value, none, one more."""
    fields = {name: exact_json.dumps(value) for name, value in good.items()}
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*good, "nosuch"]))
        if draw(st.integers(0, 5)) == 0:
            fields.pop(name, None)
        else:
            fields[name] = draw(ANY)
    return _object(fields)


# -- HTTP ------------------------------------------------------------------------------------------------------

TOKEN_CHARACTERS = st.characters(codec="latin-1", exclude_characters="\r\n\0")
HEADER_VALUES = st.one_of(
    st.text(TOKEN_CHARACTERS, max_size=60).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b"")),
    st.integers(1, 70_000).map(lambda size: b"x" * size),
)
AUTHORIZATIONS = st.sampled_from(
    [b"Bearer @BEARER@"] * 6 + [b"Bearer @ADMIN@"] * 2
    + [b"", b"Bearer", b"Bearer x", b"bearer @BEARER@x", b"Basic x", b"Basic \xff", b"Bearer W1tbW1tb.e30.AA",
       b"Bearer " + b"x" * 9000, b"Digest a", b"Bearer a.b.c", b"Bearer @OURS@", b"Bearer @OURS@",
       b"Bearer \xff\xfe", b"Bearer eyJhbGciOiJub25lIn0.e30."]
)  # fmt: skip
CONTENT_TYPES = st.sampled_from(
    [b"application/json"] * 8
    + [b"application/json; charset=utf-16", b"text/plain", b"", b"application/x-www-form-urlencoded", b"a/b; c=\xff",
       b"multipart/form-data; boundary=x", STRUCTURED.encode(), BATCH.encode(), b"APPLICATION/JSON ;;"]
)  # fmt: skip
KEYS = st.one_of(
    st.just(None), st.just(None), st.sampled_from([b"fuzz", b"", b"x" * 300, b"\xff\xfe"]), HEADER_VALUES
)
METHODS = st.sampled_from(
    [b"POST"] * 12 + [b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"TRACE", b"QUERY", b"FOO"]
)


def request(
    method: bytes,
    path: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    chunks: list[bytes] | None,
    last: bool,
) -> bytes:
    """One request, its body by its length or, with `chunks`, in these."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: fuzz"]
    lines += [name + b": " + value for name, value in headers]
    lines += [b"Connection: close"] if last else []
    if chunks is None:
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]) + body
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + parts + b"0\r\n\r\n"


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    """The same bytes in some pieces."""
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    pieces = [data[begin:end] for begin, end in zip([0, *at], [*at, len(data)], strict=True)]
    return tuple(piece for piece in pieces if piece)


ORDER = {
    "msgId": "fuzz", "amount": 76.09, "discount": 88.4, "quantity": 3, "userName": GUEST,
    "dishs": [{"menuId": 1, "count": 2}], "deliveryDate": "03.02.2040", "deliveryHour": 23,
}  # fmt: skip
PERSON = {
    "username": "fuzz-somebody", "password": "secret-1", "firstName": "A", "middleName": "B", "lastName": "C",
    "email": "a@b.c", "mobilePhone": "+100000000001",
}  # fmt: skip
# A good body by the end of a path; the first that fits.
GOOD = {
    "auth/registration": PERSON,
    "auth/token": {"username": "nobody", "password": "x", "refresh_token": "x"},
    "user/edit": {**PERSON, "username": GUEST},
    "users/edit": PERSON,
    "balance/add": {"username": GUEST, "amount": 1},
    "balance/withdraw": {"username": GUEST, "amount": 1},
    "external/order": ORDER,
    "order/find": {"userName": GUEST, "msgId": "fuzz"},
    "order/list": {"userName": GUEST, "page": 0, "size": 10},
    "user/notification": {"username": GUEST, "page": 0, "size": 10},
    "delivery/slots": {"date": "03.02.2040"},
    "api/v1/users": {**PERSON, "roles": [{"name": "ROLE_USER"}], "enabled": True},
    "api/v1/password": {"id": 999_999_999, "password": "secret-2"},
    "api/v1/roles": {"name": "ROLE_FUZZ"},
}
READS = (
    "balance/get",
    "user/find",
    "order/find",
    "order/list",
    "notification",
    "menu",
    "slots",
    "jwks.json",
    "token_key",
)
# What nobody may call without a name.
NAMED = ("/ui-api-service/api/v1/external", "/auth-service")
IN_PATHS = ["1", "0", "99999999999999999999", "%00", "%ff", "true", "x", "..", "%2e%2e", "1_0"]
QUERIES = ["size=1e5", "page=%ff", "size=" + "9" * 5000, "&&&=", "page=1&size=2", "%00"]
PUBLIC = sorted({(one.method, path) for one in load() if one.is_public for path in one.paths})


def good_body(path: str) -> dict:
    """What the method at a path takes."""
    return next((body for end, body in GOOD.items() if path.endswith(end)), {"username": GUEST})


@st.composite
def calls(draw: st.DrawFn, strangers: bool = False) -> Input:
    """A call of a public method with a body that is nearly right; of `strangers` nobody knows who they are."""
    public = [(method, path) for method, path in PUBLIC if not strangers or path.startswith(NAMED)]
    method, path = draw(st.sampled_from(public))
    body = draw(mutated(good_body(path))).encode(errors="surrogatepass")
    for name in ("id", "username", "enabled"):
        path = path.replace(f"{{{name}}}", draw(st.sampled_from(IN_PATHS)))
    if draw(st.integers(0, 9)) == 0:
        path += "?" + draw(st.sampled_from(QUERIES))
    content_type = b"application/x-www-form-urlencoded" if "/oauth/" in path else draw(CONTENT_TYPES)
    token = b"Bearer @ADMIN@" if "auth-service" in path else draw(AUTHORIZATIONS)
    if strangers:
        token = draw(AUTHORIZATIONS.filter(lambda value: b"@" not in value or value.endswith(b"@x")))
    headers = [(b"Content-Type", content_type), (b"Authorization", token)]
    if (key := draw(KEYS)) is not None:
        headers.append((b"Idempotency-Key", key))
    data = request(method.encode(), path.encode(), headers, body, None, last=True)
    return Input("gateway", draw(cut(data)), reads=path.partition("?")[0].endswith(READS))


HEADERS = [
    b"X-Junk", b"traceparent", b"tracestate", b"ce-id", b"ce-specversion", b"Expect", b"Cookie", b"X-Forwarded-For",
    b"Accept-Encoding", b"Content-Encoding", b"Idempotency-Key", b"Upgrade", b"Range",
]  # fmt: skip


def _near(path: bytes) -> list[bytes]:
    """Paths that look like this one, and some that look like no path."""
    return [
        path + b"/", path + b"//", path.upper(), path.replace(b"/", b"//"), path.replace(b"e", b"%65"), path + b"#x",
        path + b"?" + b"a=b&" * 500, path + b"/../../internal/clients", b"http://other/" + path, b"/",
        b"*", b"/_/ready",
        b"/_/metrics", b"/function/billing-withdraw", b"/%00", b"/%ff", b"/\xff", b"/" + b"x" * 20_000,
    ]  # fmt: skip


@st.composite
def some_request(draw: st.DrawFn, last: bool) -> bytes:
    """A request that a server can read, whatever it asks for."""
    path = draw(st.sampled_from([path for _, path in PUBLIC])).encode()
    path = draw(st.sampled_from([path] * 20 + _near(path)))
    body = draw(st.one_of(ANY.map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=200)))
    headers = [(b"Content-Type", draw(CONTENT_TYPES)), (b"Authorization", draw(AUTHORIZATIONS))]
    headers += draw(st.lists(st.tuples(st.sampled_from(HEADERS), HEADER_VALUES), max_size=3))
    if draw(st.integers(0, 19)) == 0:
        headers += [(b"X-Many", b"x")] * draw(st.integers(1, 3000))
    chunks = list(draw(cut(body))) if draw(st.booleans()) else None
    return request(draw(METHODS), path, headers, body, chunks, last)


@st.composite
def pipelines(draw: st.DrawFn, target: str) -> Input:
    """Several requests over one connection, sent without waiting for answers."""
    count = draw(st.integers(1, 4))
    return Input(target, draw(cut(b"".join(draw(some_request(number == count - 1)) for number in range(count)))))


LENGTHS = [b"-1", b"x", b"9" * 30, b"0x10", b"5, 6", b"+5"]
CHUNKS = [b"f" * 18 + b"\r\n", b"-1\r\n", b"zz\r\n", b"5;" + b"x" * 9000, b"1\r\nab\r\n", b"\r\n"]
VERSIONS = [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1x", b"", b"HTTP/9.9"]


def _with_more(head: bytes, body: bytes, line: bytes) -> bytes:
    return head + b"\r\n" + line + b"\r\n\r\n" + body


@st.composite
def broken(draw: st.DrawFn, target: str) -> Input:
    """What is no HTTP, or begins like it: cut off, contradictory, endless."""
    data = draw(some_request(True))
    head, _, body = data.partition(b"\r\n\r\n")
    more = partial(_with_more, head, body)
    choices: list[Callable[[], bytes]] = [
        lambda: data[: draw(st.integers(0, len(data)))],
        lambda: draw(st.binary(max_size=500)),
        lambda: more(b"Content-Length: " + draw(st.sampled_from(LENGTHS))),
        lambda: more(b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
        lambda: more(b"Transfer-Encoding: " + draw(st.sampled_from([b"gzip", b"chunked, chunked", b"x", b""]))),
        lambda: head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + draw(st.sampled_from(CHUNKS)),
        lambda: more(b"no colon"),
        lambda: head + b"\r\nX: " + b"x" * draw(st.integers(1, 3_000_000)),
        lambda: b"POST /" + b"x" * draw(st.integers(1, 2_000_000)),
        lambda: data.replace(b"HTTP/1.1", draw(st.sampled_from(VERSIONS)), 1),
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50,
        lambda: more(b"X: a\r\n\tb\r\n\0: c"),
    ]
    return Input(target, draw(cut(draw(st.sampled_from(choices))())), whole=False)


# -- events ----------------------------------------------------------------------------------------------------

TYPES = sorted(ALL)
ATTRIBUTES = [
    "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "traceparent", "tracestate", "note",
    "correlationid", "data_base64", "Upper", "x" * 50, "knativeerrordest", "knativeerrordata", "deliveryattempts",
]  # fmt: skip


@st.composite
def event(draw: st.DrawFn, short: str) -> tuple[dict[str, str], str]:
    """Attributes, each as JSON text, and the data as JSON text, of an event that is nearly right."""
    order = draw(st.sampled_from(ORDERS))
    attributes = {"specversion": "1.0", "id": f"{order}-{short}", "source": "/fuzz", "type": f"homework.arch.{short}"}
    texts = {name: json.dumps(value) for name, value in (attributes | {"subject": order}).items()}
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(ATTRIBUTES))
        if draw(st.integers(0, 4)) == 0:
            texts.pop(name, None)
        else:
            texts[name] = draw(ANY)
    example = {**ALL[short].example, "orderId": order}
    example |= {"msgId": order} if "msgId" in example else {}
    example |= {"userName": EATER} if "userName" in example else {}
    return texts, draw(st.one_of(mutated(example), ANY) if draw(st.integers(0, 3)) == 0 else mutated(example))


def _structured(attributes: dict[str, str], data: str) -> str:
    return _object({**attributes, "data": data})


def _in_header(text: str) -> bytes:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    shown = value if isinstance(value, str) else text
    return shown.encode(errors="surrogatepass").replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")[:20_000]


@st.composite
def events(draw: st.DrawFn, target: str, path: str, shorts: list[str]) -> Input:
    """One event in any mode, or a batch."""
    some = draw(st.lists(st.sampled_from(shorts).flatmap(event), min_size=1, max_size=4))
    mode = draw(st.sampled_from(["binary", "structured", "batch"]))
    attributes, data = some[0]
    if mode == "binary":
        headers = [(f"ce-{name}".encode(), _in_header(value)) for name, value in attributes.items()]
        headers.append((b"Content-Type", draw(st.sampled_from([b"application/json", b"text/plain", b"", b"x\xff"]))))
        body = data
    elif mode == "structured":
        headers, body = [(b"Content-Type", STRUCTURED.encode())], _structured(attributes, data)
    else:
        headers = [(b"Content-Type", BATCH.encode())]
        body = "[" + ",".join(_structured(*one) for one in some) + "]"
        if draw(st.integers(0, 19)) == 0:
            body = "[" + ",".join(["{}"] * draw(st.integers(1, 100_000))) + "]"
    ours = draw(st.sampled_from([b"Bearer @OURS@"] * 15 + [b"Bearer x", b"Bearer \xff"]))
    headers = [(b"Authorization", ours), *headers]
    data = request(b"POST", path.encode(), headers, body.encode(errors="surrogatepass"), None, last=True)
    return Input(target, draw(cut(data)))


def steps() -> st.SearchStrategy[Input]:
    """An event for the step that takes it, or for the sink of dead letters."""
    ways = [events(by_event(short).name, f"/function/{by_event(short).name}", [short]) for short in TYPES]
    return st.one_of(*ways, events("ops-dead-letter", "/function/ops-dead-letter", TYPES))

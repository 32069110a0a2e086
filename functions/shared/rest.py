"""The REST method: method, caller and body are checked here; a function gets what it asked for and gives a model.

    @rest("POST", "/ui-api-service/api/v1/external/user/balance/get", caller="bearer")
    def balance_get(body: UserQuery, caller: Caller, db: Database) -> Balance: ...

A parameter is filled by its annotation: a model is the body (of a GET the query), Database a transaction, Caller the
bearer, an optional IdempotencyKey that header; any other one is taken from the path (`/users/{id}`) by its name. With
`autocommit` each statement is a transaction of its own: for methods that run one, which then is one trip to the
database and not two. With `grouped` requests that come at the same time make that trip together.
"""

import inspect
import re
import time
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Generic, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, RootModel, TypeAdapter, ValidationError

from functions.shared import database, exact_json, group_commit, idempotency, installation
from functions.shared.afterwards import afterwards
from functions.shared.answers import JSON, Answer, json_answer, status_body
from functions.shared.caller import Caller
from functions.shared.database import Database
from functions.shared.errors import report, trouble_of
from functions.shared.paths import expression
from functions.shared.request import FORM, Request
from functions.shared.settings import DatabaseSettings, TimeZoneSettings, read, require
from functions.shared.telemetry.instrumented import instrumented
from functions.shared.telemetry.logs import log, milliseconds_since
from functions.shared.validation_errors import explain
from schemas.answers import Timed
from schemas.fields import plain_name

Body = TypeVar("Body", covariant=True)
CallerKind = Literal["public", "bearer", "admin", "internal"]
NAMES_OF_USERS = ("username", "user_name")
ROLES = {"bearer": "ROLE_USER", "admin": "ROLE_ADMIN"}
ASK_WITH_A_KEY = f"Nobody knows whether it was done; with an {idempotency.HEADER} it is safe to ask again"
# Of JSON, whose objects take up to thirty times their text: a thousand order ids are half of it, an order a tenth.
LARGEST_BODY = 128 * 1024


class Admission(Protocol):
    """Whether there is capacity for one request more. Both raise Busy when there will be none soon."""

    def wait(self, admitted: bool = False) -> None:
        """Wait for it in a thread, unless that was done."""

    async def admit(self) -> None:
        """Wait for it on an event loop."""


class BadRequest(Exception):
    """The request does not have the form that was asked for; the text names the field."""


@dataclass(frozen=True)
class Response(Generic[Body]):
    """An answer whose status is not 200, or that carries headers of its own: `-> Response[Model]`.

    Bytes go out as they are: `-> Response[bytes]`, with a Content-Type among the headers.
    """

    body: Body
    status: int = 200
    headers: dict[str, str] | None = None


def spring_error(request: Request, status: int, message: str | None = None) -> dict[str, Any]:
    """The body that clients of the original know from its framework; `message` only where it had one."""
    return status_body(status, request.path, message)


def simple_refusal(_: Request, reason: str) -> Any:
    """400 in the public API: a Simple ERROR."""
    return {"status": "ERROR", "error": reason}


def admin_refusal(request: Request, reason: str) -> Any:
    """400 in the administration: the framework's body, with the reason as its message."""
    return spring_error(request, 400, reason)


def oauth_refusal(_: Request, reason: str) -> Any:
    """400 at an OAuth endpoint."""
    return {"error": "invalid_request", "error_description": reason}


@dataclass(frozen=True)
class Route:
    """How a REST function is reached, and what it takes and gives; read by the tools too."""

    name: str
    method: str
    paths: tuple[str, ...]
    caller: CallerKind
    form: bool
    autocommit: bool
    refusal: Callable[[Request, str], Any]
    media_type: str
    admission: Admission | None
    body: type[BaseModel] | None
    gives: Any
    parameters: dict[str, Any]

    @property
    def takes_key(self) -> bool:
        """Whether doing it twice differs from doing it once, so that clients may name their request."""
        return idempotency.Optional in self.parameters.values()

    @property
    def takes_content(self) -> bool:
        """Whether its model is the request's body, and not its query."""
        return self.body is not None and self.method != "GET"

    def path_values(self, path: str) -> dict[str, str]:
        """The values of the path's placeholders, whatever the prefix under which the function is served."""
        for pattern in self._patterns:
            if match := pattern.search(path):
                return match.groupdict()
        return {}

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        """Of those that have placeholders: others have no values."""
        return [re.compile(f"{expression(path, named=True)}$") for path in self.paths if "{" in path]


def rest(
    method: str,
    *paths: str,
    caller: CallerKind,
    form: bool = False,
    autocommit: bool = False,
    refusal: Callable[[Request, str], Any] = simple_refusal,
    media_type: str = JSON,
    admission: Admission | None = None,
    grouped: bool = False,
) -> Callable[[Callable], Callable[[Request], Answer]]:
    """Make a REST method out of a function; see the module's text for its form."""

    def decorate(function: Callable) -> Callable[[Request], Answer]:
        route = _route(function, method, paths, caller, form, autocommit, refusal, media_type, admission)
        require(*_needed_settings(route))

        def handle(request: Request) -> Answer:
            return _Call(route, function, request).answer()

        def too_large(request: Request) -> Answer:
            return json_answer(spring_error(request, 413), 413, {"Connection": "close"})

        async def admit(request: Request) -> Answer | None:
            if request.method != method:
                # A probe, or what is refused anyway: it takes nobody's place.
                return None
            try:
                await admission.admit()
                request.admitted = True
                return None
            except Exception as problem:
                return served.counted(partial(_Call(route, function, request).answer_to, problem), request)

        needs_database = Database in route.parameters.values()
        served = instrumented(
            function,
            handle,
            needs_database,
            largest=LARGEST_BODY,
            too_large=too_large,
            strangers=installation.unauthorized if caller == "internal" else None,
        )
        served.route, served.grouped = route, grouped
        if admission:
            served.admit = admit
        return served

    return decorate


def _route(function: Callable, method: str, paths: tuple[str, ...], *rest_of_it: Any) -> Route:
    hints = typing.get_type_hints(function, include_extras=True)
    gives = hints.pop("return", None)
    body = next((h for h in hints.values() if inspect.isclass(h) and issubclass(h, BaseModel)), None)
    return Route(function.__name__, method, paths, *rest_of_it, body, gives, hints)


def _needed_settings(route: Route) -> list[type]:
    needed = [DatabaseSettings] if Database in route.parameters.values() else []
    if route.caller in ROLES:
        # Only here: a function that no bearer calls must not pay for what checks one.
        from functions.shared.bearer import KeySettings
        from functions.shared.revocations import RevocationSettings

        needed += [KeySettings, RevocationSettings]
    return needed


class _Call:
    """One request's way through a REST method."""

    def __init__(self, route: Route, function: Callable, request: Request):
        self.route, self.function, self.request = route, function, request

    def answer(self) -> Answer:
        return self._logged(self._checked)

    def answer_to(self, problem: Exception, _: Request) -> Answer:
        """What is answered where the server has found a problem before the call."""
        return self._logged(lambda: self._trouble(problem))

    def _logged(self, answering: Callable[[], Answer]) -> Answer:
        began = time.perf_counter()
        try:
            answer = answering()
        except Exception as problem:
            answer = self._trouble(problem)
        afterwards(
            partial(
                log,
                "request",
                function=self.route.name,
                method=self.request.method,
                ms=milliseconds_since(began),
                outcome=answer[1],
            )
        )
        return answer

    def _checked(self) -> Answer:
        if self.request.method != self.route.method:
            return json_answer(spring_error(self.request, 405), 405, {"Allow": self.route.method})
        caller = self._caller()
        role = ROLES.get(self.route.caller)
        if role and role not in caller.authorities:
            return json_answer({"error": "access_denied", "error_description": "Access is denied"}, 403)
        values = self._values(caller)
        if self.route.takes_content and (problem := self._wrong_content_type()):
            return problem
        return _rendered(self._call(values | self._body(caller)), self.route.media_type)

    def _caller(self) -> Caller | None:
        if self.route.caller not in ROLES:
            return None
        from functions.shared.bearer import caller_of

        return caller_of(self.request)

    def _wrong_content_type(self) -> Answer | None:
        expected = FORM if self.route.form else JSON
        if self.request.mimetype == expected:
            return None
        return json_answer(spring_error(self.request, 415), 415, {"Accept-Post": expected})

    def _values(self, caller: Caller | None) -> dict[str, Any]:
        from_path = self.route.path_values(self.request.path)
        values = {}
        for name, hint in self.route.parameters.items():
            if hint is Caller:
                values[name] = caller
            elif hint is Request:
                values[name] = self.request
            elif hint == idempotency.Optional:
                values[name] = self._key()
            elif hint not in (Database, self.route.body):
                values[name] = self._from_path(name, hint, from_path)
        return values

    def _key(self) -> idempotency.IdempotencyKey | None:
        try:
            return idempotency.IdempotencyKey.read(self.request.headers.get(idempotency.HEADER))
        except ValueError as problem:
            raise BadRequest(f"{idempotency.HEADER}: {problem}") from None

    def _from_path(self, name: str, hint: Any, found: dict[str, str]) -> Any:
        try:
            return TypeAdapter(hint).validate_python(found.get(name))
        except ValidationError as problem:
            reason = explain(problem) if found else "missing in the path"
            raise BadRequest(f"{name}: {reason}") from None

    def _body(self, caller: Caller | None) -> dict[str, Any]:
        name = next((n for n, hint in self.route.parameters.items() if hint is self.route.body), None)
        if name is None:
            return {}
        try:
            body = self.route.body.model_validate(self._raw_body())
        except ValidationError as problem:
            raise BadRequest(explain(problem)) from None
        return {name: _in_callers_name(body, caller) if self.route.caller == "bearer" else body}

    def _raw_body(self) -> Any:
        if self.route.form:
            return self._form(lambda: self.request.form)
        if not self.route.takes_content:
            return self._form(lambda: self.request.query)
        try:
            raw = exact_json.loads(self.request.body)
        except (ValueError, RecursionError) as problem:
            raise BadRequest(f"expected JSON, got something else: {problem}") from None
        if not isinstance(raw, dict) and not issubclass(self.route.body, RootModel):
            raise BadRequest("expected a JSON object, got another JSON value")
        return raw

    def _form(self, fields: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        try:
            return dict(fields())
        except ValueError:
            raise BadRequest("expected a form in UTF-8") from None

    def _call(self, values: dict[str, Any]) -> Any:
        name = next((n for n, hint in self.route.parameters.items() if hint is Database), None)
        if self.route.admission:
            self.route.admission.wait(self.request.admitted)
        if name is None:
            return self.function(**values)
        for tries_left in (2, 1, 0):
            try:
                with self._connected() as db:
                    return self.function(**values, **{name: db})
            except (database.Conflict, database.Outdated):
                # Another request was first, or a table has changed: what that did is seen by the next try.
                if not tries_left:
                    raise

    def _connected(self) -> AbstractContextManager[Database]:
        return group_commit.autocommit() if self.route.autocommit else database.transaction()

    def _may_come_again(self) -> bool:
        """Whether doing it twice is doing it once."""
        return not self.route.takes_key or self.request.headers.get(idempotency.HEADER) is not None

    def _trouble(self, problem: Exception) -> Answer:
        match problem:
            case BadRequest():
                return json_answer(self.route.refusal(self.request, str(problem)), 400)
            case _ if hasattr(problem, "answer"):
                return problem.answer()
        trouble = trouble_of(problem, self._may_come_again())
        report(trouble, problem, self.route.name)
        message = ASK_WITH_A_KEY if trouble.status == 504 else None
        return json_answer(spring_error(self.request, trouble.status, message), trouble.status, trouble.headers)


def _in_callers_name(body: BaseModel, caller: Caller) -> BaseModel:
    """A name that means the caller is the caller's own, in whatever form it was typed."""
    given = {name: getattr(body, name) for name in NAMES_OF_USERS if name in type(body).model_fields}
    others = [name for name, value in given.items() if value and value != caller.username]
    meant = [name for name in others if plain_name(given[name]) == plain_name(caller.username)]
    return body.model_copy(update=dict.fromkeys(meant, caller.username)) if meant else body


def _rendered(result: Any, media_type: str) -> Answer:
    response = result if isinstance(result, Response) else Response(result)
    if isinstance(response.body, bytes):
        return response.body, response.status, response.headers or {}
    body = response.body
    if isinstance(body, Timed):
        body = body.at(_operation_time())
    dumped = body.model_dump(by_alias=True) if isinstance(body, BaseModel) else body
    return json_answer(dumped, response.status, {"Content-Type": media_type, **(response.headers or {})})


def _operation_time() -> str:
    return datetime.now(ZoneInfo(read(TimeZoneSettings).time_zone)).strftime("%d.%m.%Y %H:%M:%S")

"""Inputs by schemathesis: what OpenAPI allows and what it forbids, and answers that are as it says."""

import json
from collections.abc import Callable

import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tools.local.environment import ROOT

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
Case = schemathesis.Case


class Api:
    """The public methods of schemas/openapi.json."""

    def __init__(self) -> None:
        document = json.loads((ROOT / "schemas" / "openapi.json").read_text("utf-8"))
        for path, methods in [*document["paths"].items()]:
            if any("internal" in method["tags"] for method in methods.values()):
                del document["paths"][path]
        schema = schemathesis.openapi.from_dict(document)
        self.operations = [result.ok() for result in schema.get_all_operations()]

    def cases(self, number: int, forbidden: bool) -> st.SearchStrategy[Case]:
        """Calls of one of the operations."""
        operation = self.operations[number % len(self.operations)]
        takes_something = operation.body or operation.query or operation.path_parameters
        mode = GenerationMode.NEGATIVE if forbidden and takes_something else GenerationMode.POSITIVE
        return operation.as_strategy(generation_mode=mode)


def sender(base: str, bearer: str, admin: str) -> Callable[[Case], tuple[int, list[str]]]:
    """Send a case with the token that its method asks for; gives the status, and what is wrong with the answer."""
    session = requests.Session()
    session.trust_env = False

    def send(case: Case) -> tuple[int, list[str]]:
        token = admin if case.path.startswith("/auth-service") else bearer
        headers = {"Authorization": f"Bearer {token}"} if "/oauth/" not in case.path else {}
        try:
            response = case.call(base_url=base, session=session, headers=headers, timeout=40)
        except (requests.exceptions.InvalidHeader, UnicodeError):
            return 0, []  # no client could send it
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as problems:
            return response.status_code, [_line(problem) for problem in problems.exceptions]
        return response.status_code, []

    return send


def _line(problem: BaseException) -> str:
    title = problem.title if isinstance(problem, Failure) else type(problem).__name__
    return f"{title}: {' '.join(str(problem).split())[:500]}"

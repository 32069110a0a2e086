"""The recorded questions, asked in their order, are answered as recorded or as the list of differences says."""

import base64
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.shared.exact_json import dumps
from tests.clients import ADMIN, FORM, JWT, TIME
from tests.recorded.differences import DIFFERENCES
from tests.system import Answer, System, eventually

RECORD = [
    json.loads(line) for line in (Path(__file__).parent / "original-answers.jsonl").read_text("utf-8").splitlines()
]
CASES = {question["case"]: question for question in RECORD}

ALICE, BOB = "user1", "user1b"
BOBS = {"unknown client withdraw", "unknown client get", "find expired token", "find without ROLE_USER"}
EXPIRED = {"find expired token", "registration with expired token"}
FOREIGN = {"find token of other key", "token with bad bearer header"}
WRONG_CLIENT = {"token with wrong Basic header", "oauth/token wrong client"}
FUNCTIONS = {
    "billing clients again": "billing-client-create",
    "billing add unknown": "billing-internal-add",
    "billing withdraw unknown": "billing-internal-withdraw",
    "findEmail": "notification-find-email",
}
# What the recorded place called user1c by its id.
RECORDED_ID = "7"


class Recorder:
    """Asks the recorded questions; between some of them something happens that is no question."""

    def __init__(self, system: System, admin: str, client: tuple[str, str], sign: Callable, foreign_key: object):
        self.system, self.admin, self.client = system, admin, client
        self.sign, self.foreign_key = sign, foreign_key
        self.tokens: dict[str, Any] = {}
        self.made_id = ""

    def ask(self, question: dict[str, Any]) -> Answer:
        """One question, with what happened before it."""
        case = question["case"]
        BEFORE.get(case, lambda _: None)(self)
        headers, body = self._headers(question), self._body(question)
        if case in FUNCTIONS:
            return self.system.function(FUNCTIONS[case]).post(data=body, headers=headers)
        path = question["path"].replace(f"/users/{RECORDED_ID}/", f"/users/{self.made_id}/")
        answer = self.system.gateway.request(question["method"], path, data=body, headers=headers)
        self._keep(case, answer)
        return answer

    def _keep(self, case: str, answer: Answer) -> None:
        if case == "users create":
            self.made_id = str(answer.json["id"])
        if answer.status == 200 and "access_token" in answer.text:
            self.tokens[answer.json["email"].partition("@")[0]] = answer.json

    def _headers(self, question: dict[str, Any]) -> dict[str, str]:
        oauth, plain = question["path"].startswith("/oauth/"), question["case"].endswith("text/plain")
        kind = FORM if oauth else "text/plain" if plain else "application/json"
        authorization = self._authorization(question)
        return {"Content-Type": kind} | ({"Authorization": authorization} if authorization else {})

    def _authorization(self, question: dict[str, Any]) -> str | None:
        case = question["case"]
        if question["authorization"] == "basic":
            id, secret = self.client
            return (
                "Basic " + base64.b64encode(f"{id}:{'wrong' if case in WRONG_CLIENT else secret}".encode()).decode()
            )
        if question["authorization"] == "bearer":
            return f"Bearer {self._bearer(case)}"
        return f"Bearer {self.admin}" if question["path"].startswith(ADMIN) else None

    def _bearer(self, case: str) -> str:
        name = BOB if case in BOBS else ALICE
        if case in EXPIRED:
            return self.sign(user_name=name, exp=int(time.time()) - 1)
        if case in FOREIGN:
            return self.sign(user_name=name, key=self.foreign_key)
        return self.tokens[name]["access_token"]

    def _body(self, question: dict[str, Any]) -> str | None:
        body, case = question["request"], question["case"]
        if case.startswith("oauth/"):
            token = "access_token" if case == "oauth/check_token" else "refresh_token"
            return body and body.replace("<jwt>", self.tokens[ALICE][token])
        if case in ("password", "delete", "delete list"):
            return json.dumps(body).replace(RECORDED_ID, self.made_id)
        return json.dumps(body) if isinstance(body, dict | list) else body

    # What happened between the questions

    def administer(self, path: str, body: Any = None) -> None:
        answer = self.system.gateway.post(f"{ADMIN}{path}", json=body, token=self.admin)
        assert answer.json["errorCode"] == 0, answer.text

    def fill_the_kitchen(self) -> None:
        """The recorded kitchen and couriers were fresh; ours may have served other tests."""
        sql = self.system.sql
        sql.rows("UPDATE store.dishes SET opening_stock = opening_stock + 10, in_stock = in_stock + 10 WHERE id <= 5")
        hours = "(delivery_date, delivery_hour) IN ((date '2023-02-03', 23), (date '2023-02-04', 5))"
        taken = sql.value(f"SELECT count(*) FROM delivery.bookings WHERE {hours} AND canceled_at IS NULL")
        assert taken == 0, "03.02.2023 23h and 04.02.2023 5h belong to the recording: tests take days of their own"

    def wait_for_the_mails(self) -> None:
        wanted = len(DIFFERENCES["notification after"].answer["emails"])
        count = "SELECT count(*) FROM notification.emails WHERE username = :name"
        eventually(lambda: self.system.sql.value(count, name=ALICE) == wanted, f"{wanted} mails")

    def lose_bobs_account(self) -> None:
        self.system.sql.rows("DELETE FROM billing.clients WHERE username = :name", name=BOB)

    def switch_bob(self, enabled: str) -> None:
        id = self.system.sql.value("SELECT id FROM auth.users WHERE username = :name", name=BOB)
        self.administer(f"/users/{id}/{enabled}")

    def make_bob_an_administrator_only(self) -> None:
        self.switch_bob("true")
        self.administer("/users/edit", {"username": BOB, "roles": [{"name": "ROLE_ADMIN"}]})


BEFORE = {
    "order ok": Recorder.fill_the_kitchen,
    "notification after": Recorder.wait_for_the_mails,
    "unknown client withdraw": Recorder.lose_bobs_account,
    "token disabled user": lambda recorder: recorder.switch_bob("false"),
    "token of admin-only user": Recorder.make_bob_an_administrator_only,
    "roles create again": lambda recorder: recorder.administer("/roles", {"name": "ROLE_user1"}),
}


@pytest.fixture(scope="module")
def answers(system, admin_token, oauth_client, signed, foreign_key) -> dict[str, Answer]:
    """All questions, asked once in their order."""
    recorder = Recorder(system, admin_token, oauth_client, signed, foreign_key)
    return {question["case"]: recorder.ask(question) for question in RECORD}


# Answers are compared as text with their numbers as they are written; these fields by their form.

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
MOMENT = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}\+00:00"
FORMS = {
    "access_token": JWT.pattern, "refresh_token": JWT.pattern, "jti": UUID, "orderId": UUID, "id": r"\d+",
    "operationTime": TIME.pattern, "timestamp": MOMENT, "exp": r"\d{10}", "iat": r"\d{10}",
}  # fmt: skip
PLACEHOLDERS = {
    "<phone>": r"\+?[0-9][0-9 ()\-]{0,30}",
    "<text>": r"[\w-]+",
    "<public key PEM>": r"-----BEGIN PUBLIC KEY-----[\w\s+/=]+-----END PUBLIC KEY-----\s*",
}
# Other tests make users and roles too.
OTHERS = {"users": "username", "roles": "name"}


def read(text: str) -> Any:
    """JSON with its numbers as they are written, and the order of its fields."""
    return json.loads(text, parse_float=lambda number: f"number {number}")


def same(expected: Any, found: Any, field: str = "") -> bool:
    """Whether `found` is what was expected; for some fields, whether it has the form of it."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return list(expected) == list(found) and all(same(expected[name], found[name], name) for name in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if field == "expires_in":
        return isinstance(found, int) and abs(expected - found) <= 5
    form = PLACEHOLDERS.get(expected) if isinstance(expected, str) else None
    if form or (expected is not None and field in FORMS):
        return found is not None and bool(re.fullmatch(form or FORMS[field], str(found)))
    return type(expected) is type(found) and expected == found


def comparable(case: str, expected: Any, found: Any) -> Any:
    """What was found, without what other tests made; mails of orders that ran together in the expected order."""
    if case in ("notification after", "findEmail"):
        place = [mail["message"] for mail in expected["emails"]]
        known = [mail for mail in found["emails"] if mail["message"] in place]
        if len(known) == len(found["emails"]):
            found["emails"].sort(key=lambda mail: place.index(mail["message"]))
            expected["emails"].sort(key=lambda mail: place.index(mail["message"]))
    if case in OTHERS:
        ours = {entry[OTHERS[case]] for entry in expected[case]}
        found[case] = [entry for entry in found[case] if entry[OTHERS[case]] in ours]
    return found


def matches(case: str, status: int, expected: Any, answer: Answer) -> bool:
    found = read(answer.text)
    return answer.status == status and same(expected, comparable(case, expected, found))


def as_recorded(case: str, answer: Answer) -> bool:
    """Whether an answer is the recorded one."""
    question = CASES[case]
    if not question["answer"]:
        return (answer.status, answer.text) == (question["status"], "")
    kind = answer.headers["Content-Type"] == question["content_type"]
    return kind and matches(case, question["status"], read(question["answer"]), answer)


@pytest.mark.parametrize("case", [case for case in CASES if case not in DIFFERENCES])
def test_a_question_is_answered_as_recorded(answers, case):
    assert as_recorded(case, answers[case]), f"{CASES[case]['answer']}\n{answers[case].status} {answers[case].text}"


@pytest.mark.parametrize("case", DIFFERENCES)
def test_a_difference_is_as_listed(answers, case):
    difference, answer = DIFFERENCES[case], answers[case]
    expected = read(dumps(difference.answer))
    assert matches(case, difference.status, expected, answer), f"{expected}\n{answer.status} {answer.text}"
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("case", DIFFERENCES)
def test_a_listed_difference_is_one_and_has_its_reason(answers, case):
    assert DIFFERENCES[case].reason
    assert not as_recorded(case, answers[case])


def test_what_is_listed_was_recorded_once():
    assert len(CASES) == len(RECORD)
    assert set(DIFFERENCES) <= set(CASES)
    assert set(BEFORE) <= set(CASES)


def test_the_same_message_was_answered_with_the_same_order(answers):
    assert answers["order ok"].text == answers["order same msgId again"].text


def test_the_switch_and_the_password_name_the_user_they_are_about(answers):
    made = answers["users create"].json["id"]
    assert (answers["enable"].json["id"], answers["password"].json["id"]) == (made, made)


def test_nothing_of_a_password_is_shown(answers):
    assert not [case for case, answer in answers.items() if "123456" in answer.text or "$argon2" in answer.text]
    assert answers["users create"].json["password"] is None

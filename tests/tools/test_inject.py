"""One step, run by hand: the answer and what changed in its owner's tables."""

import json

import pytest
from click.testing import CliRunner, Result

from schemas.events import ALL
from tools import inject as injector
from tools.inject import difference, main
from triggers.stack import PREFIX, load

ORDER = "injected-{}"


@pytest.fixture
def inject(monkeypatch, system, fresh_database):
    """Inject as `make inject` does; only a database is there, unless a test adds more."""
    monkeypatch.setenv("LOCAL_DIR", str(system.installation.directory))
    monkeypatch.delenv("BROKER_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL", fresh_database())

    def do(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return do


@pytest.fixture
def beside(inject, monkeypatch, system):
    """The same, beside the running system: its database is known."""
    monkeypatch.setenv("ADMIN_DATABASE_URL", system.database_url)
    return inject


def test_a_function_and_a_database_are_enough(inject):
    result = inject("--event", "billing.withdraw")

    assert result.exit_code == 0, result.output
    assert "answer 200" in result.output
    assert "ce-type: homework.arch.pay.confirmSale" in result.output
    assert '"payStatus": "ClientNotFound"' in result.output
    assert "charges\n  + {" in result.output


def test_the_same_injection_again_changes_nothing(beside, system):
    words = ["--event", "pay.confirmSale", "--order", "injected-twice", "--url", system.plan.urls["pay-confirm-sale"]]
    first, second = beside(*words), beside(*words)

    assert "payments\n  + {" in first.output
    assert "no row changed: decided before, or nothing to decide" in second.output
    assert answer_of(first) == answer_of(second)
    system.sql.rows("DELETE FROM pay.payments WHERE order_id = 'injected-twice'")


def answer_of(result: Result) -> str:
    """The answer as it is shown, without its time."""
    output = result.output[result.output.index("answer 200") : result.output.index("\nrows of")]
    return "\n".join(line for line in output.splitlines() if "ce-time" not in line)


def test_order_user_and_amount_can_be_chosen(beside, system, new_user):
    user = new_user(50)
    result = beside(
        "--event", "billing.withdraw", "--order", f"of-{user.username}", "--user", user.username,
        "--amount", "12.34", "--url", system.plan.urls["billing-withdraw"],
    )  # fmt: skip

    assert '"payStatus": "Ok"' in result.output
    assert f'"subject":"of-{user.username}"' in result.output
    assert '"balance": 37.66' in result.output
    undo = "DELETE FROM billing.movements WHERE order_id = :o"
    system.sql.rows(undo, o=f"of-{user.username}")
    system.sql.rows("DELETE FROM billing.charges WHERE order_id = :o", o=f"of-{user.username}")
    system.sql.rows("UPDATE billing.clients SET balance = 50 WHERE username = :u", u=user.username)


def test_the_data_can_come_from_a_file_and_a_refusal_is_shown(beside, system, tmp_path):
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"orderId": "o", "amount": "much"}))
    result = beside("--event", "pay.sale", "--data", str(file), "--url", system.plan.urls["pay-sale"])

    assert result.exit_code == 1
    assert "answer 500" in result.output
    assert "x-retry: never" in result.output
    assert "amount: expected a number with at most two places, got 'much'" in result.output
    assert "no row changed" in result.output


@pytest.fixture
def by_broker(beside, monkeypatch, system):
    """The same, through the broker."""
    monkeypatch.setenv("BROKER_URL", system.installation.broker)
    return lambda *words: beside(*words, "--broker")


def test_it_can_go_through_the_broker_and_waits_for_the_change(by_broker, system):
    result = by_broker("--event", "notification.email", "--order", "injected-broker")

    assert result.exit_code == 0, result.output
    assert "answer 202" in result.output
    assert "emails\n  + {" in result.output
    system.sql.rows("DELETE FROM notification.emails WHERE order_id = 'injected-broker'")


def test_through_the_broker_the_same_again_is_reported_to_have_changed_nothing(by_broker, system, monkeypatch):
    monkeypatch.setattr(injector, "CHANGE_WITHIN", 1)
    for _ in range(2):
        result = by_broker("--event", "notification.email", "--order", "injected-again")
    system.sql.rows("DELETE FROM notification.emails WHERE order_id = 'injected-again'")

    assert injector.NOT_SEEN in result.output


def test_a_dead_letter_is_reported_with_its_reason(by_broker, tmp_path):
    file = tmp_path / "data.json"
    file.write_text(json.dumps({"orderId": "injected-dead", "amount": "much"}))
    result = by_broker("--event", "pay.sale", "--data", str(file))

    assert "dead letter" in result.output
    assert "amount: expected a number with at most two places, got 'much'" in result.output


def test_without_a_known_database_the_rows_are_not_shown(inject, system, monkeypatch):
    monkeypatch.delenv("ADMIN_DATABASE_URL", raising=False)
    result = inject("--event", "pay.sale", "--order", "unseen", "--url", system.plan.urls["pay-sale"])

    assert result.exit_code == 0, result.output
    assert "rows not shown: set ADMIN_DATABASE_URL" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--event", "pay.nothing"], "expected one of the events billing.refund"),
        (["--event", "pay.sale", "--amount", "much"], "inject:"),
        (["--event", "pay.sale", "--url", "http://127.0.0.1:9"], "nobody answers at http://127.0.0.1:9"),
        (["--event", "pay.sale", "--broker"], "expected BROKER_URL, or a running system (make run)"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(inject, words, expected):
    result = inject(*words)

    assert result.exit_code == 1
    assert expected in str(result.exception or result.output) or expected in result.output


def test_every_event_can_be_injected():
    assert {function.event_type.removeprefix(PREFIX) for function in load() if function.event_type} == set(ALL)
    assert all(event.example for event in ALL.values())


def test_the_difference_shows_rows_that_went_and_rows_that_came():
    before, after = {"a": {"1", "2"}, "b": set()}, {"a": {"2", "3"}, "b": set()}
    assert difference(before, after) == ["a", "  - 1", "  + 3"]
    assert difference(before, before) == []

"""One event that nobody can handle waits among 31 good ones: it ends as a dead letter and harms no other."""

from functions.shared.events import STRUCTURED
from tests.processes import end, start
from tests.stories.conftest import Stage
from tests.system import eventually

BAD = """{"specversion": "1.0", "type": "homework.arch.order.newOrder", "source": "/story", "id": "%s",
          "subject": "%s", "data": {"orderId": "%s", "amount": "a lot"}}"""


def test_one_bad_event_among_31_good_ones_harms_no_other(stage: Stage):
    guest, dish = stage.new_user(1000), stage.dish(stock=1000)
    bad = f"bad-{dish}"
    # An ingress alone takes events, and nobody delivers them.
    ingress = stage.system.plan.trigger("ingress")
    assert end(stage.system.process("broker")) == 0
    start(ingress)
    try:
        orders = [stage.order(guest, stage.body(guest, dish)) for _ in range(31)]
        waiting = 'SELECT count(*) FROM "order".outbox'
        eventually(lambda: not stage.system.sql.value(waiting), "the outbox to be empty")
        sent = stage.system.broker.post("/", data=BAD % (bad, bad, bad), headers={"Content-Type": STRUCTURED})
        assert sent.status == 202
    finally:
        assert end(ingress) == 0
        stage.system.start_process("broker")

    assert stage.settled(*orders) == ["Completed"] * 31
    dead_letter = eventually(
        lambda: stage.system.sql.row("SELECT * FROM ops.dead_letters WHERE id = :id", id=bad), "the dead letter"
    )
    assert (dead_letter.function, dead_letter.attempts, dead_letter.subject) == ("order-new-order", 1, bad)
    assert "amount: expected a number with at most two places, got 'a lot'" in dead_letter.reason
    lines = [line for line in stage.system.log_lines("broker") if line.get("id") == bad]
    assert [(line["function"], line["outcome"].partition(":")[0]) for line in lines] == [
        ("order-new-order", "dead letter"),
        ("ops-dead-letter", "done"),
    ]

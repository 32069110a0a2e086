"""What cron does, by Knative's own source: the last of the files, for nothing sleeps for long once it runs."""

import json

from tests.system import eventually


def test_an_order_that_stands_still_is_driven_on_by_the_schedule(stage, system):
    system.keep_warm(1)
    guest, dish = stage.new_user(1000), stage.dish()
    order = stage.order(guest, stage.body(guest, dish))
    assert ["Completed"] == stage.settled(order)
    # Its mail is lost, and nobody knows it.
    system.sql.rows("DELETE FROM notification.emails WHERE order_id = :id", id=order)
    system.sql.rows('UPDATE "order".orders SET notified_at = NULL, redrive_at = now() WHERE order_id = :id', id=order)

    system.cluster.start_schedules()

    mailed = "SELECT count(*) FROM notification.emails WHERE order_id = :id"
    eventually(lambda: system.sql.value(mailed, id=order) == 1, "the mail that the schedule asks for", 60)
    eventually(lambda: "redrive" in scheduled(system), "the log line of the run", 10)


def scheduled(system) -> set[str]:
    """The scheduled functions of the order that have run, by their logs."""
    lines = system.cluster.kubelet.log("order-", "user-container").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return {each["function"] for each in found if each["message"] == "scheduled"}

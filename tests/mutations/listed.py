"""The mistakes: a file, the text that stands there, what stands there instead, and a test that fails of it."""

from dataclasses import dataclass
from pathlib import Path

from triggers.stack import ROOT


@dataclass(frozen=True)
class Mutation:
    """One mistake. `test` is what pytest is given: a file or a test, and words that choose some of its tests."""

    name: str
    file: str
    old: str
    new: str
    test: str
    only: str = ""

    def applied(self, root: Path = ROOT) -> str:
        """The file's text with the mistake. Raises LookupError where the old text does not stand there just once."""
        text = (root / self.file).read_text("utf-8")
        if text.count(self.old) != 1:
            raise LookupError(f"{self.file}: expected once, found {text.count(self.old)} times: {self.old}")
        return text.replace(self.old, self.new)


DECISIONS = "tests/shared/test_decisions.py"
CHAIN = "tests/shared/test_crash_chain.py"
KEYS = "tests/functions/billing/test_idempotency.py"
REDRIVE = "tests/functions/order/test_redrive.py"
GROUPS = "tests/shared/test_group_commit.py"
REFUSED = "tests/functions/test_bad_requests.py"

MUTATIONS = (
    # Money
    Mutation(
        "a charge is not looked for before money is taken",
        "functions/billing/withdraw.py",
        "WHERE username = :username AND balance >= :amount AND NOT EXISTS (SELECT FROM decided)",
        "WHERE username = :username AND balance >= :amount",
        DECISIONS, "three_times and billing.withdraw",
    ),
    Mutation(
        "money is taken that is not there",
        "functions/billing/withdraw.py",
        "balance >= :amount AND NOT EXISTS",
        "NOT EXISTS",
        CHAIN, "every_step and money",
    ),
    Mutation(
        "the payment of an order without money is booked",
        "functions/pay/confirm_sale.py",
        "if order.pay_status is PayStatus.OK:",
        "if True:",
        CHAIN, "every_step and money",
    ),
    Mutation(
        "a refund without a sale",
        "functions/pay/refund.py",
        "if db.row(UNDO, order_id=order.order_id):",
        "if db.row(UNDO, order_id=order.order_id) or True:",
        CHAIN, "every_step and money",
    ),
    Mutation(
        "a refund gives nothing back",
        "functions/billing/refund.py",
        "balance = balance + undone.amount",
        "balance = balance + 0",
        CHAIN, "every_step and sold",
    ),
    Mutation(
        "the answer to a key is not kept",
        "functions/billing/idempotency.py",
        "            return self._keep(work(), db)",
        "            return work()",
        KEYS, "same_key_and_body",
    ),
    Mutation(
        "a key answers whatever is asked",
        "functions/billing/idempotency.py",
        "        if not self._is(known):",
        "        if False:",
        KEYS, "another_body",
    ),
    Mutation(
        "a lost commit is called undone",
        "functions/shared/rest.py",
        "        return not self.route.takes_key or self.request.headers.get(idempotency.HEADER) is not None",
        "        return True",
        KEYS, "nobody_knows",
    ),
    Mutation(
        "the gateway calls undone what got no answer",
        "triggers/gateway.py",
        "            return await _refuse(scope, send, 504, message=UNCERTAIN)",
        '            return await _refuse(scope, send, 503, {"Retry-After": "1"})',
        "tests/triggers/test_gateway.py", "504",
    ),
    Mutation(
        "the client's discount counts where the store's prices bind",
        "functions/store/booking_food.py",
        "(sum(discount * count), sum((price - discount) * count)) <> (:discount, :amount)",
        "sum(price * count) - :discount <> :amount",
        "tests/functions/store/test_booking_food.py", "no_other_discount",
    ),
    # Food, couriers, orders, mails
    Mutation(
        "food is put back twice",
        "functions/store/cancel_booking_food.py",
        "FROM locked, undone WHERE",
        "FROM locked WHERE",
        DECISIONS, "two_runs and cancelBookingFood",
    ),
    Mutation(
        "some dishes of an order are reserved and others not",
        "functions/store/booking_food.py",
        "count(*) < (SELECT count(*) FROM wanted) OR NOT bool_and(in_stock >= count)",
        "NOT bool_or(in_stock >= count)",
        "tests/functions/store/test_booking_food.py", "or_none",
    ),
    Mutation(
        "an order that failed before gets a courier",
        "functions/delivery/booking_courier.py",
        "    if order.is_ok:",
        "    if True:",
        CHAIN, "every_step and sold",
    ),
    Mutation(
        "an ended order ends again",
        "functions/order/result.py",
        "WHERE order_id = :order_id AND status = 'Created'",
        "WHERE order_id = :order_id",
        DECISIONS, "three_times and order.result",
    ),
    Mutation(
        "a mail for each delivery of its event",
        "functions/notification/send_email.py",
        "    ON CONFLICT (order_id) DO NOTHING\n",
        "",
        DECISIONS, "three_times and notification",
    ),
    Mutation(
        "another order under a used msgId is the same order",
        "functions/order/submit.py",
        "    if accepted is not None and _kept(accepted.request) == body:",
        "    if accepted is not None:",
        DECISIONS, "another_order_by_the_same_message",
    ),
    Mutation(
        "the outbox forgets what the broker has not taken",
        "functions/order/outbox.py",
        "return [outgoing.row_id for outgoing, answer in zip(sent, answers, strict=True) if answer is TAKEN]",
        "return [outgoing.row_id for outgoing, answer in zip(sent, answers, strict=True)]",
        "tests/functions/order/test_outbox.py", "everything_stays",
    ),
    Mutation(
        "a late mail settles nothing",
        "functions/order/redrive.py",
        "AND (redrives < :tries OR NOT :open)",
        "AND redrives < :tries",
        REDRIVE, "late_mail",
    ),
    Mutation(
        "one unreadable row stops the re-drive",
        "functions/order/redrive.py",
        "    except outbox.Unreadable as problem:",
        "    except FileNotFoundError as problem:",
        REDRIVE, "holds_up_no_other",
    ),
    # Batches
    Mutation(
        "a batch of rows is chosen anew for each row",
        "functions/order/redrive.py",
        "     WHERE order_id IN (SELECT order_id FROM due)",
        "     WHERE order_id IN (SELECT order_id FROM orders WHERE notified_at IS NULL AND redrive_at <= now()"
        " ORDER BY redrive_at LIMIT 500 FOR UPDATE SKIP LOCKED)",
        REDRIVE, "whatever_the_plan",
    ),
    Mutation(
        "a group asks in the order of its coming",
        "functions/shared/group_commit.py",
        "    waiting = sorted(waiting, key=lambda run: repr(run.asked))",
        "    waiting = list(waiting)",
        GROUPS, "opposite_order",
    ),
    Mutation(
        "what one asks for fails for all of its group",
        "functions/shared/group_commit.py",
        "        if len(waiting) == 1 or is_nobodys:",
        "        if waiting:",
        GROUPS, "has_that_alone or stays_when",
    ),
    Mutation(
        "a batch locks nothing first",
        "functions/shared/decisions.py",
        "            locking = _locking([one for one in locks if one])",
        "            locking = []",
        "tests/shared/test_batches_at_once.py", "opposite_order",
    ),
    Mutation(
        "a batch decides in the order of its events",
        "functions/shared/step.py",
        "        in_order = sorted(range(len(works)), key=lambda at: inputs[at].subject)",
        "        in_order = list(range(len(works)))",
        DECISIONS, "opposite_order",
    ),
    Mutation(
        "events get another id each time",
        "functions/shared/events.py",
        '    return str(uuid.uuid5(IDS, "\\n".join(parts)))',
        "    return str(uuid.uuid4())",
        DECISIONS, "three_times and billing.withdraw",
    ),
    # Triggers
    Mutation(
        "an event is acknowledged before what follows is confirmed",
        "triggers/trigger.py",
        "        publish(messages, outcome)",
        "        self.link.acknowledge(deliveries)\n        publish(messages, outcome)",
        "tests/triggers/test_trigger.py", "refuses_to_take",
    ),
    Mutation(
        "an event is acknowledged though what follows was refused",
        "triggers/trigger.py",
        "                self.link.give_back(deliveries)\n",
        "                self.link.acknowledge(deliveries)\n",
        "tests/triggers/test_trigger.py", "refuses_to_take",
    ),
    Mutation(
        "what is begun ahead is acknowledged before it is published",
        "triggers/trigger.py",
        "        publish = self.link.publish_soon if soon else self.link.publish_then\n",
        "        publish = (lambda _, outcome: outcome(None)) if soon else self.link.publish_then\n",
        "tests/triggers/test_ahead.py", "whoever_else or lost",
    ),
    Mutation(
        "whatever has the id of what was begun ahead counts as its copy",
        "triggers/deliveries.py",
        "        return self.body == message.body and self.headers == headers",
        "        return True",
        "tests/triggers/test_deliveries.py", "not_the_same",
    ),
    Mutation(
        "what goes wrong ahead is nobody's when it is delivered",
        "triggers/amqp.py",
        "            delivery.consumer.forget(delivery)",
        "            pass",
        "tests/triggers/test_ahead.py", "exception",
    ),
    Mutation(
        "the ingress says yes before RabbitMQ has confirmed",
        "triggers/ingress.py",
        "        await self._link.publish(messages)",
        "        self._link.publish_then(messages, lambda _: None)",
        "tests/triggers/test_crash_points.py", "ingress",
    ),
    Mutation(
        "the broker says yes before RabbitMQ has confirmed",
        "triggers/broker.py",
        "        await self._link.publish(messages, soon=self._dispatcher.ahead.begin(messages))",
        "        self._dispatcher.ahead.begin(messages)\n        self._link.publish_soon(messages, lambda _: None)",
        "tests/triggers/test_broker.py", "says_nothing",
    ),
    Mutation(
        "a message that no queue takes counts as published",
        "triggers/amqp.py",
        "        if message.must_arrive:",
        "        if False:",
        "tests/triggers/test_amqp.py", "must_arrive",
    ),
    # Who asks
    Mutation(
        "a token that somebody else signed is good",
        "functions/shared/bearer.py",
        '"verify_iat": False}',
        '"verify_iat": False, "verify_signature": False}',
        REFUSED, "another_key",
    ),
    Mutation(
        "a refresh token opens everything",
        "functions/shared/bearer.py",
        '    if "ati" in claims:',
        "    if False:",
        "tests/functions/auth/test_bad_requests.py", "refresh or no_token_of_ours",
    ),
    Mutation(
        "a role is not asked for",
        "functions/shared/rest.py",
        "        if role and role not in caller.authorities:",
        "        if False:",
        REFUSED, "no_client",
    ),
    Mutation(
        "money of others can be withdrawn",
        "functions/billing/balance_withdraw.py",
        "    if body.username != caller.username:",
        "    if False:",
        REFUSED, "anothers_name_nothing_is_done",
    ),
    Mutation(
        "strangers reach steps and internal methods",
        "functions/shared/installation.py",
        '    return scheme.lower() == "bearer" and any(found)',
        "    return True",
        "tests/shared/test_installation.py",
    ),
)  # fmt: skip

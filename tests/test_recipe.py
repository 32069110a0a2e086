"""The README's recipe for a step, followed on a copy of the tree: a step between two others, a status, an owner.

A kitchen takes or refuses an order after its food is reserved and before a courier is looked for.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.local.environment import passed_on
from triggers.stack import ROOT

NEW = {
    "functions/kitchen/__init__.py": "",
    "functions/kitchen/tables/001_tickets.sql": """\
CREATE TABLE tickets (
    order_id text PRIMARY KEY,
    status text NOT NULL
);
""",
    "functions/kitchen/cook.py": '''\
"""Take an order into the kitchen, or say that it is closed at that hour."""

from functions.shared.decisions import Decisions
from functions.shared.step import step
from schemas.events import BookingCourier, Cook, KitchenStatus

TAKE = """
    WITH decided AS (
        SELECT status FROM tickets WHERE order_id = :order_id
    ), taken AS (
        INSERT INTO tickets (order_id, status)
        SELECT :order_id, :status WHERE NOT EXISTS (SELECT FROM decided)
        RETURNING status
    )
    SELECT status FROM decided UNION ALL SELECT status FROM taken
"""
OPENS = 8


@step
def cook(order: Cook, db: Decisions) -> BookingCourier:
    """A paid and reserved order is cooked when the kitchen is open; one that failed before passes through."""
    status = KitchenStatus.SKIPPED
    if order.is_ok:
        wanted = KitchenStatus.OK if order.delivery_hour >= OPENS else KitchenStatus.CLOSED
        status = KitchenStatus(db.row(TAKE, order_id=order.order_id, status=wanted).status)
    return BookingCourier(**order.facts(), **order.statuses(), kitchen_status=status)
''',
    "tests/stories/test_kitchen.py": '''\
"""The kitchen is closed at night: food and money go back."""

from tests.stories.conftest import BACK, END, FORWARD, Stage


def test_an_order_in_the_day_is_cooked(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish))

    assert stage.settled(order) == ["Completed"]
    assert stage.trace(order) == [*FORWARD, *END]


def test_an_order_in_the_night_is_canceled(stage: Stage):
    guest, dish = stage.new_user(100), stage.dish(stock=10)
    order = stage.order(guest, stage.body(guest, dish, deliveryHour=3))

    assert stage.settled(order) == ["Canceled"]
    assert stage.trace(order) == [*FORWARD, *BACK, "billing.refund", *END]
    assert (stage.balance(guest), stage.stock(dish)) == ("100.00", 10)
    assert stage.mails(guest) == ["The kitchen is closed"]
''',
}

# What stands there, and what takes its place.
CHANGES = {
    "schemas/events.py": [
        (
            "class DeliveryStatus(StrEnum):",
            '''class KitchenStatus(StrEnum):
    """What became of the cooking."""

    OK = "Ok"
    CLOSED = "Closed"
    SKIPPED = "Skipped"


class DeliveryStatus(StrEnum):''',
        ),
        (
            "class AfterDelivery(AfterStore):",
            '''class AfterKitchen(AfterStore):
    """An order about which the kitchen has spoken too."""

    kitchen_status: KitchenStatus


class AfterDelivery(AfterKitchen):''',
        ),
        (
            'class BookingCourier(AfterStore, type="delivery.bookingCourier"):',
            '''class Cook(AfterStore, type="kitchen.cook"):
    """The food is reserved: it is to be cooked, unless a step before failed."""

    example: ClassVar[dict[str, Any]] = {**_GOOD, "payStatus": "Ok", "storeStatus": "Ok"}


class BookingCourier(AfterKitchen, type="delivery.bookingCourier"):''',
        ),
        (
            '{**_GOOD, "payStatus": "Ok", "storeStatus": "Ok"}\n\n\nclass CancelBookingFood',
            '{**_GOOD, "payStatus": "Ok", "storeStatus": "Ok", "kitchenStatus": "Ok"}\n\n\nclass CancelBookingFood',
        ),
        ('"storeStatus": "Ok", "deliveryStatus"', '"storeStatus": "Ok", "kitchenStatus": "Ok", "deliveryStatus"'),
        (
            '"storeStatus": "Skipped", "deliveryStatus"',
            '"storeStatus": "Skipped", "kitchenStatus": "Skipped", "deliveryStatus"',
        ),
    ],
    "functions/store/booking_food.py": [("BookingCourier", "Cook")],
    "functions/order/result.py": [
        ("EmailMessage, OrderStatus", "EmailMessage, KitchenStatus, OrderStatus"),
        ("REASONS = {\n", 'REASONS = {\n    KitchenStatus.CLOSED: "The kitchen is closed",\n'),
    ],
    "stack.yml": [
        (
            "  # delivery\n",
            """\
  # kitchen
  kitchen-cook:
    <<: *function
    image: ${REGISTRY:-registry.example.org/food}/kitchen-cook:${VERSION:-0.1.0}
    build_args: {NAME: kitchen-cook}
    labels: *warm
    secrets: [kitchen-database-url, installation-token]
    environment:
      FUNCTION_SOURCE: functions/kitchen/cook.py
      FUNCTION_TARGET: cook
      DATABASE_URL_FILE: /var/openfaas/secrets/kitchen-database-url
      INSTALLATION_TOKEN_FILE: /var/openfaas/secrets/installation-token
    annotations:
      caller: broker
      topic: homework.arch.kitchen.cook
  # delivery
""",
        ),
    ],
    "tests/stories/conftest.py": [
        ('    "delivery.booking_courier",\n', '    "kitchen.cook",\n    "delivery.booking_courier",\n'),
    ],
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with the step in it, before anything is generated."""
    made = tmp_path_factory.mktemp("recipe")
    for name in git("ls-files", "--cached", "--others", "--exclude-standard"):
        if (ROOT / name).exists() and not name.startswith("tests/platforms/crds/"):
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, made / name)
    for name, text in NEW.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text, "utf-8")
    for name, changes in CHANGES.items():
        text = (made / name).read_text("utf-8")
        for there, instead in changes:
            assert there in text, f"{name}: expected {there!r}"
            text = text.replace(there, instead)
        (made / name).write_text(text, "utf-8")
    done = in_copy(made, "tools.generate")
    assert 0 == done.returncode, done.stdout + done.stderr
    return made


def git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def in_copy(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """A module run in the copy."""
    environment = passed_on(os.environ) | {"LOCAL_DIR": str(folder / ".local")}
    if ports := os.environ.get("FREE_PORTS"):
        environment["FREE_PORTS"] = ports
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_readme_names_every_place_that_is_touched():
    text = (ROOT / "README.md").read_text("utf-8")
    recipe = re.search(r"## To add a step\n(.*?)\n## ", text, re.DOTALL)[1]
    steps, stories = r"^functions/(?!order/result)[^/]+/.*", r"^tests/stories/.*"
    touched = {re.sub(steps, "functions/<owner>/", name) for name in (*NEW, *CHANGES)}
    places = {re.sub(stories, "tests/stories/", name) for name in touched}
    assert [] == [place for place in places if place not in recipe]


def test_no_generated_file_is_forgotten(copy: Path):
    done = in_copy(copy, "tools.generate", "--check")
    assert (0, "nothing is stale\n") == (done.returncode, done.stdout), done.stderr
    assert "kitchen-database-url" in (copy / "k8s/base/30-secrets.yaml").read_text()
    assert "kitchen-cook" in (copy / "k8s/functions/70-triggers.yaml").read_text()
    assert "kitchen.cook" in (copy / "README.md").read_text("utf-8")


def test_orders_take_the_new_step(copy: Path):
    files = ("tests/stories/test_kitchen.py", "tests/test_layers.py", "tests/tools/test_manifests.py")
    done = in_copy(copy, "pytest", "-q", "-p", "no:cacheprovider", *files)
    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-1000:]

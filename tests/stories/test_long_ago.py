"""A past day is accepted, however long ago: its order ends like any other."""

from pathlib import Path

import pytest

import functions.order
from tests.stories.conftest import Stage

MIGRATION = Path(functions.order.__file__).parent / "tables" / "004_days_before_1000.sql"


@pytest.mark.parametrize("day", ["01.01.0001", "03.02.0999"])
def test_an_order_for_a_day_before_the_year_1000_completes(stage: Stage, day):
    guest, dish = stage.new_user(100), stage.dish()
    body = stage.body(guest, dish, deliveryDate=day)
    order = stage.order(guest, body)

    assert ["Completed"] == stage.settled(order)
    assert order == stage.order(guest, body)


@pytest.mark.parametrize(("kept", "mended"), [("03.02.999", "03.02.0999"), ("01.01.1", "01.01.0001")])
def test_a_day_that_was_kept_with_fewer_digits_is_mended(stage: Stage, kept, mended):
    guest, dish = stage.new_user(100), stage.dish()
    order = stage.order(guest, stage.body(guest, dish, deliveryDate=mended))
    assert ["Completed"] == stage.settled(order)
    request = 'SELECT request FROM "order".orders WHERE order_id = :id'
    good = stage.system.sql.value(request, id=order)
    bad = good.replace(mended, kept)
    stage.system.sql.rows('UPDATE "order".orders SET request = :bad WHERE order_id = :id', bad=bad, id=order)

    stage.system.sql.rows('SET search_path = "order"; ' + MIGRATION.read_text())

    assert bad != good == stage.system.sql.value(request, id=order)

"""The dashboard and the alerts, asked of a real Prometheus that scrapes the running system."""

import json
import re
import subprocess
from functools import partial

import pytest

from tests.platforms.metrics.test_rules import ALERTS, GROUPS
from tests.platforms.programs import find
from tests.system import OURS, Http, eventually
from tools.local.environment import ROOT

# What a cluster's servers and volumes export is not here.
OF_OUR_METRICS = [rule["alert"] for group in GROUPS if group["name"] == "food-orders" for rule in group["rules"]]
DASHBOARD = json.loads((ROOT / "k8s" / "grafana" / "food-orders.json").read_text())
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b(?=[{\[)\s]|$)")
FUNCTIONS_OF_THE_LANGUAGE = {"last_over_time", "histogram_quantile", "label_replace"}


def query(text: str) -> str:
    """A panel's query as Grafana would send it."""
    return text.replace("$__rate_interval", "10m")


# What is exported


def test_promtool_finds_nothing_wrong_with_what_each_process_exports(system, story):
    assert story
    for name, (address, path) in system.plan.scraped.items():
        text = Http(f"http://{address}", OURS).get(path).text
        done = subprocess.run([find("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
        assert (0, "") == (done.returncode, done.stdout + done.stderr), name


def test_every_process_is_scraped(system, prometheus):
    up = {sample["metric"]["job"] for sample in prometheus.ask("up == 1")}

    assert {*system.plan.scraped} == up


# The dashboard


def test_the_dashboard_has_the_rows_of_requests_latency_errors_and_orders_and_those_of_the_saga():
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]

    assert ["Requests", "Latency", "Errors", "Orders"] == rows[:4]
    assert ["Saga: what needs a person", "Saga: events", "Processes"] == rows[4:]


def test_panels_lie_beside_each_other_and_have_ids_of_their_own():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    fields = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]

    assert len(fields) == len(set(fields))
    assert max(x for x, _ in fields) == 23
    assert len(DASHBOARD["panels"]) == len({panel["id"] for panel in DASHBOARD["panels"]})


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_has_a_unit_a_text_and_the_data_source_that_was_chosen(title):
    panel = PANELS[title]

    assert panel["fieldConfig"]["defaults"]["unit"] and panel["description"]
    assert {"${datasource}"} == {part["datasource"]["uid"] for part in (panel, *panel["targets"])}


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_has_data_after_orders_of_all_outcomes(prometheus, story, title):
    assert story
    for target in PANELS[title]["targets"]:
        asked = query(target["expr"])
        found = eventually(partial(prometheus.ask, asked), asked, 20)
        assert all(sample["value"][1] != "NaN" for sample in found), asked


def test_the_orders_of_the_dashboard_are_counted_by_what_the_client_is_answered(prometheus, story):
    assert story
    (target,) = PANELS["Ended in the last 24 hours"]["targets"]

    reasons = {sample["metric"]["reason"] for sample in prometheus.ask(target["expr"])}

    assert {
        "Заказ успешно создан",
        "Недостаточно средств на балансе клиента",
        "Выбранное блюдо недоступно",
        "Все курьеры заняты. Выберите  другое время доставки.",
    } <= reasons


# The alerts


@pytest.mark.parametrize("alert", OF_OUR_METRICS)
def test_the_metrics_that_an_alert_asks_for_are_exported(prometheus, story, alert):
    assert story
    names = set(NAME.findall(ALERTS[alert]["expr"])) - FUNCTIONS_OF_THE_LANGUAGE
    assert names
    for name in names:
        assert eventually(lambda name=name: prometheus.ask(f"count({name})"), name, 20)


def test_prometheus_evaluates_every_alert(prometheus, story):
    assert story

    def evaluated() -> dict[str, str]:
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        return {rule["name"]: rule["health"] for rule in rules if rule["health"] != "unknown"}

    eventually(lambda: len(evaluated()) == len(OF_OUR_METRICS), "every rule evaluated")
    assert dict.fromkeys(OF_OUR_METRICS, "ok") == evaluated()


def test_a_dead_letter_that_waits_makes_its_alert_pending(prometheus, story):
    assert story

    def active() -> set[str]:
        return {alert["labels"]["alertname"] for alert in prometheus.api("alerts")["alerts"]}

    eventually(lambda: "DeadLettersWaiting" in active(), "the alert")
    assert not {"DispatcherDown", "MetricsMissing", "OutboxStuck", "OrdersNeedAttention"} & active()

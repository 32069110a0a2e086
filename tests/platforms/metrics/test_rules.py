"""The alerts, by Prometheus' own program: each fires when it should, and is silent just before that."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.platforms.programs import find
from tools.generate.manifests.monitoring import RULES

GROUPS = [group for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
REQUESTS = 'function_request_duration_seconds_count{function="pay-sale",outcome="%s"}'
QUEUE = 'broker_queue_messages{queue="food.events.pay-sale",instance="%s"}'
DISK = "rabbitmq_disk_space_%s_bytes"
WAIT = 'cnpg_pgbouncer_pools_maxwait{user="%s",database="food"}'
BACKENDS = 'cnpg_backends_total{pod="a",usename="%s"}'
MOST = 'cnpg_pg_settings_setting{pod="a",name="max_connections"}'
ARCHIVER = "cnpg_pg_stat_archiver_last_%s_time"
BACKUP = "barman_cloud_cloudnative_pg_io_last_available_backup_timestamp"
VOLUME = 'kubelet_volume_stats_%s_bytes{namespace="food",persistentvolumeclaim="food-db-1"}'
RETRY = 'broker_queue_messages{queue="food.events.retry.3"}'

# Alert: series that are just not enough; series that are; minutes until it has fired; labels beside the severity.
# `a+bxn` is a, then n times b more; `axn` is n times a more; `_` is no sample.
CASES = {
    "OrdersNeedAttention": ({"orders_needing_attention": "0x9"}, {"orders_needing_attention": "0 1x9"}, 3, {}),
    "DeadLettersWaiting": ({"dead_letters_waiting": "1x3 0x9"}, {"dead_letters_waiting": "2x9"}, 6, {}),
    "OldestOpenOrderTooOld": (
        {"orders_oldest_open_age_seconds": "900x9"}, {"orders_oldest_open_age_seconds": "901x9"}, 3, {},
    ),
    "OutboxStuck": (
        {"order_outbox_oldest_age_seconds": "0+60x1 0+60x1 0+60x1 0+60x1"},
        {"order_outbox_oldest_age_seconds": "0+60x9"}, 6, {},
    ),
    "OutboxRefused": ({"order_outbox_refused_rows": "0x9"}, {"order_outbox_refused_rows": "1x9"}, 2, {}),
    "ErrorRateHigh": (
        {REQUESTS % "ok": "0+92x20", REQUESTS % "failed": "0+4x20", REQUESTS % "not_now": "0+4x20"},
        {REQUESTS % "ok": "0+88x20", REQUESTS % "failed": "0+6x20", REQUESTS % "not_now": "0+6x20"}, 12, {},
    ),
    # One of two is enough; one that is up without RabbitMQ is none.
    "DispatcherDown": (
        {'dispatcher_connected{instance="a"}': "0x20", 'dispatcher_connected{instance="b"}': "1x20"},
        {'dispatcher_connected{instance="a"}': "0x20", 'dispatcher_connected{instance="b"}': "1x3 stale"}, 12, {},
    ),
    # Retries wait on purpose, and two dispatchers tell of the same queue.
    "QueuesGrow": (
        {QUEUE % "a": "10+20x30", QUEUE % "b": "10+20x30", RETRY: "0+100x30"},
        {QUEUE % "a": "10+40x30", QUEUE % "b": "10+40x30"}, 22, {},
    ),
    "SafetyNetStopped": (
        {REQUESTS.replace("pay-sale", "order-flush") % "ok": "0+6x40"},
        {REQUESTS.replace("pay-sale", "order-flush") % "ok": "0+6x10 60x40"}, 38, {"function": "order-flush"},
    ),
    "MetricsMissing": (
        {"orders_needing_attention": "0x20", "dead_letters_waiting": "0x20"},
        {"orders_needing_attention": "0x20", "dead_letters_waiting": "0 0 stale"}, 18, {},
    ),
    "RabbitMQAlarm": (
        {"rabbitmq_alarms_memory_used_watermark": "0x9"},
        {"rabbitmq_alarms_free_disk_space_watermark": "0 1x9"}, 3, {},
    ),
    "RabbitMQDiskSoonShort": (
        {DISK % "available": "2001x20", DISK % "available_limit": "1000x20"},
        {DISK % "available": "1999x20", DISK % "available_limit": "1000x20"}, 11, {},
    ),
    "PoolerKeepsWaiting": ({WAIT % "pay": "2x9"}, {WAIT % "pay": "3x9"}, 3, {"user": "pay"}),
    "PostgresConnectionsShort": (
        {BACKENDS % "x": "45x9", BACKENDS % "y": "45x9", MOST: "100x9"},
        {BACKENDS % "x": "45x9", BACKENDS % "y": "46x9", MOST: "100x9"}, 6, {"pod": "a"},
    ),
    "PostgresReplicaBehind": (
        {'cnpg_pg_replication_lag{pod="b"}': "30x9"}, {'cnpg_pg_replication_lag{pod="b"}': "31x9"}, 6, {"pod": "b"},
    ),
    "PostgresNotArchiving": (
        {ARCHIVER % "failed": "5x20", ARCHIVER % "archived": "6x20"},
        {ARCHIVER % "failed": "7x20", ARCHIVER % "archived": "6x20"}, 16, {},
    ),
    "BackupTooOld": ({BACKUP: "0 60x20"}, {BACKUP: "-129600x20"}, 11, {}),
    "VolumeSoonFull": (
        {VOLUME % "available": "15x20", VOLUME % "capacity": "100x20"},
        {VOLUME % "available": "14x20", VOLUME % "capacity": "100x20"}, 11, {"persistentvolumeclaim": "food-db-1"},
    ),
}  # fmt: skip


def promtool(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([find("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_promtool_finds_nothing_wrong_with_the_rules():
    done = promtool("check", "rules", *RULES)

    found = sum(int(number) for number in re.findall(r"SUCCESS: (\d+) rules found", done.stdout))
    assert (0, len(ALERTS)) == (done.returncode, found), done.stdout


def test_every_alert_has_a_case():
    assert ALERTS.keys() == CASES.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_is_wrong_what_that_means_and_what_to_do(alert):
    assert {"summary", "description", "action"} == ALERTS[alert]["annotations"].keys()
    assert ALERTS[alert]["labels"]["severity"] in ("warning", "critical")


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_when_it_should(tmp_path, alert):
    _, series, minutes, labels = CASES[alert]

    done = judged(tmp_path, alert, series, minutes, [labels | {"severity": ALERTS[alert]["labels"]["severity"]}])

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_silent_just_before_that(tmp_path, alert):
    series, _, minutes, _ = CASES[alert]

    done = judged(tmp_path, alert, series, minutes, [])

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("alert", set(ALERTS) - {"MetricsMissing"})
def test_an_alert_is_silent_where_nobody_exports_its_metrics(tmp_path, alert):
    done = judged(tmp_path, alert, {"up": "1x40"}, 30, [])

    assert done.returncode == 0, done.stdout


def judged(folder: Path, alert: str, series: dict[str, str], minutes: int, fired: list[dict]) -> object:
    """`promtool test rules`, with the rules' texts left out: what they say is not what is tested."""
    bare = {name: {**rule, "annotations": {}} for name, rule in ALERTS.items()}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(bare.values())}]}))
    expected = {"alertname": alert, "eval_time": f"{minutes}m", "exp_alerts": [{"exp_labels": one} for one in fired]}
    story = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [expected],
    }
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [story]}
    (folder / "test.yaml").write_text(yaml.safe_dump(whole))
    return promtool("test", "rules", folder / "test.yaml")

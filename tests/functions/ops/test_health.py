"""The health of the whole."""

import pytest

from tests.fakes import FakeFunction


def test_the_whole_is_up(gateway):
    answer = gateway.get("/health")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/vnd.spring-boot.actuator.v3+json"
    assert answer.text == '{"status":"UP","groups":["liveness","readiness"]}'


def test_readiness_names_the_parts(gateway):
    answer = gateway.get("/health/readiness")
    assert answer.status == 200
    assert answer.text == '{"status":"UP","components":{"database":{"status":"UP"},"broker":{"status":"UP"}}}'


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ({"BROKER_URL": "http://127.0.0.1:1"}, "broker"),
        ({"DATABASE_URL": "postgresql://x:x@127.0.0.1:1/x"}, "database"),
    ],
)
def test_a_part_that_is_down_is_named_and_takes_the_whole_down(started_alone, setting, part):
    health = started_alone("ops", "health", **setting)
    answer = health.get("/health/readiness")
    assert (answer.status_code, answer.json["status"]) == (503, "DOWN")
    other = {"broker": "database", "database": "broker"}[part]
    assert answer.json["components"] == {part: {"status": "DOWN"}, other: {"status": "UP"}}
    assert health.get("/health").json == {"status": "DOWN", "groups": ["liveness", "readiness"]}


@pytest.mark.parametrize(("answer", "state"), [(200, "UP"), (404, "UP"), (405, "UP"), (500, "DOWN"), (503, "DOWN")])
def test_a_broker_is_up_when_somebody_takes_events_there(started_alone, answer, state):
    ingress = FakeFunction(lambda _: (answer, {}, b"")).start()
    health = started_alone("ops", "health", BROKER_URL=ingress.url)
    assert health.get("/health/readiness").json["components"]["broker"] == {"status": state}
    assert [call.path for call in ingress.calls] == ["/health"]
    ingress.stop()


def test_there_is_no_info(gateway):
    answer = gateway.get("/info")
    assert (answer.status, answer.text) == (200, "{}")
    assert answer.headers["Content-Type"] == "application/vnd.spring-boot.actuator.v3+json"

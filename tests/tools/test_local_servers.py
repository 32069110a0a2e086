"""The private servers: they start, stop without a trace, and come back after the worst."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pg8000.native
import pika
import pytest

from tools.local.postgres import Postgres
from tools.local.processes import StartFailed, command_line, free_port, is_free, wait_until
from tools.local.rabbitmq import RabbitMQ

Server = Postgres | RabbitMQ


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="food-servers-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def _postgres(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder / "postgres", free_port(), fast=True)
    yield server
    server.remove()


@pytest.fixture(scope="module")
def _rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    server = RabbitMQ(folder / "rabbitmq", free_port())
    yield server
    server.remove()


@pytest.fixture(params=["postgres", "rabbitmq"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two, running."""
    found = request.getfixturevalue(f"_{request.param}")
    found.start()
    return found


@pytest.fixture
def postgres(_postgres: Postgres) -> Postgres:
    _postgres.start()
    return _postgres


@pytest.fixture
def rabbitmq(_rabbitmq: RabbitMQ) -> RabbitMQ:
    _rabbitmq.start()
    return _rabbitmq


def sql(server: Postgres, statement: str) -> list:
    address = {"host": "127.0.0.1", "port": server.port, "database": "postgres"}
    connection = pg8000.native.Connection("food_admin", password=server.password, **address)
    try:
        return connection.run(statement)
    finally:
        connection.close()


def processes_of(server: Server) -> set[int]:
    """Every process that works in the server's directory, or has it in its command or its environment."""
    found = {entry for entry in Path("/proc").glob("[0-9]*") if str(server.directory) in _words(entry)}
    return {int(entry.name) for entry in found} - {os.getpid()}


def _words(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        return f"{(process / 'cwd').readlink()} {words.decode(errors='replace')}"
    except OSError:
        return ""


def answers(server: Server) -> bool:
    if isinstance(server, Postgres):
        return sql(server, "SELECT 1") == [[1]]
    pika.BlockingConnection(pika.URLParameters(server.url)).close()
    return True


def test_started_server_answers_and_a_second_start_leaves_it_alone(server: Server):
    pid = server.pid
    server.start()
    assert (server.pid, answers(server)) == (pid, True)


def test_no_process_is_left_after_stop(server: Server):
    assert server.pid in processes_of(server)
    server.stop()
    assert server.pid is None
    assert wait_until(lambda: not processes_of(server), 10)


def test_server_left_by_a_killed_run_is_replaced(server: Server):
    left = server.pid
    later = type(server)(server.directory, server.port)
    later.start()
    assert later.pid != left
    assert not command_line(left)
    assert answers(later)


def test_only_this_machine_can_connect(server: Server):
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.2", server.port))


def test_password_is_readable_by_its_owner_only(server: Server):
    assert (server.directory / "password").stat().st_mode & 0o777 == 0o600


def test_taken_port_is_one_line_with_the_variable(server: Server):
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)), pytest.raises(StartFailed) as refusal:
        server.start()
    assert str(server.port) in str(refusal.value)
    assert server.port_variable in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_restart_gives_a_new_process_on_the_same_port(postgres: Postgres):
    before = postgres.pid
    postgres.restart()
    assert postgres.pid != before
    assert answers(postgres)


def test_rows_survive_a_kill(postgres: Postgres):
    sql(postgres, "CREATE TABLE kept AS SELECT 7 AS number")
    postgres.kill()
    postgres.start()
    assert sql(postgres, "SELECT number FROM kept") == [[7]]


def test_times_are_utc_and_texts_utf8(postgres: Postgres):
    found = sql(postgres, "SELECT current_setting('timezone'), current_setting('server_encoding')")
    assert found == [["UTC", "UTF8"]]


def test_confirmed_message_survives_a_kill(rabbitmq: RabbitMQ):
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        connection.channel().queue_declare("kept", durable=True)
    rabbitmq.restart()  # Mnesia writes a new queue to disk moments later, a confirmed message at once
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"food", pika.BasicProperties(delivery_mode=2))
    rabbitmq.kill()
    rabbitmq.start()
    with pika.BlockingConnection(pika.URLParameters(rabbitmq.url)) as connection:
        assert connection.channel().basic_get("kept", auto_ack=True)[2] == b"food"


def test_two_nodes_run_side_by_side(rabbitmq: RabbitMQ, folder: Path):
    other = RabbitMQ(folder / "other", free_port())
    try:
        other.start()
        assert answers(rabbitmq)
        assert answers(other)
    finally:
        other.remove()
    assert not processes_of(other)


def test_free_port_is_another_one_each_time(monkeypatch):
    monkeypatch.setenv("FREE_PORTS", "20000-20199")
    assert len({free_port() for _ in range(50)}) == 50


def test_free_port_is_below_those_of_outgoing_connections():
    port = free_port()
    assert is_free(port)
    assert port < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

"""RabbitMQ over TLS: the same connection, if its certificate is one that we trust."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from tests.triggers.test_amqp import Queue, linked, until
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers.amqp import Delivery, Link, Subscription

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def certificate(directory: Path) -> tuple[Path, Path]:
    """One that this machine signs for itself, and its key."""
    files = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=RabbitMQ of a test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", str(files[0]), "-keyout", str(files[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate and its key."""
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(trusted: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMQ, str]]:
    """A RabbitMQ that has the certificate, and its address over TLS."""
    rabbitmq, port = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"), free_port()), free_port()
    rabbitmq.settings = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.certfile": str(trusted[0]),
        "ssl_options.keyfile": str(trusted[1]),
        "ssl_options.verify": "verify_none",
    }
    rabbitmq.start()
    yield rabbitmq, rabbitmq.url.replace("amqp://", "amqps://").replace(str(rabbitmq.port), str(port))
    rabbitmq.remove()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_published_over_tls_arrives(server, trusted, monkeypatch, loop):
    rabbitmq, url = server
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted[0]))
    queue = Queue(rabbitmq.url)
    large = replace(queue.message("a"), body=b"x" * 300_000)  # several records of TLS

    taken: list[Delivery] = []

    async def story(link: Link) -> None:
        await link.publish([large])
        await until(lambda: taken, "the delivery")
        link.acknowledge(taken)

    linked(url, story, Subscription(queue.name, taken.append), loop=LOOPS[loop])

    assert [large.body] == [delivery.body for delivery in taken]
    queue.channel.connection.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_that_nobody_knows_is_no_connection(server, monkeypatch, tmp_path, caplog, loop):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)[0]))
    # That has a connection of its own, which would meet the certificate first.
    monkeypatch.setattr(Link, "_declare_all", lambda _: None)

    async def run() -> bool:
        link = Link(server[1], lambda _: None).start()
        try:
            return await link.wait_ready(2)
        finally:
            await link.stop()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert not runner.run(run())
    assert "certificate verify failed" in caplog.text

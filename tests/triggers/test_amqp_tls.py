"""RabbitMQ over TLS: the same connection, if its certificate is one that we trust."""

import asyncio
import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.triggers.test_amqp import Queue, linked, until
from tools.local.processes import free_port
from tools.local.rabbitmq import RabbitMQ
from triggers.amqp import Delivery, Link, Subscription

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def certificate(directory: Path) -> tuple[Path, Path]:
    """One that this machine signs for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "RabbitMQ of a test")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
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

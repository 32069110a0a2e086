"""Files that only their owner may read: written whole or not at all, made once by however many processes."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def password() -> str:
    """A password for machines: 192 random bits, no character that a URL or a shell would trip over."""
    return secrets.token_urlsafe(24)


def write_private(path: Path, text: str) -> None:
    """Write a file (mode 0600) beside its final place and move it there."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_text(text, "utf-8")
    fresh.rename(path)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time work in `directory`, which is made if it has to be."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def kept_password(path: Path) -> str:
    """The password in `path`, made by the first who asks."""
    if not path.exists():
        with locked(path.parent):
            if not path.exists():
                write_private(path, password())
    return path.read_text()

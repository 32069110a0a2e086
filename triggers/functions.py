"""Functions behind one event loop: probes are answered on the loop, work is done by threads.

So a probe never waits for work, and a slow client never holds a thread.
"""

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from functions.shared import metrics, settings
from functions.shared.answers import Answer, json_answer
from functions.shared.request import Request
from triggers.asgi import (
    TOO_SLOW,
    BodyTooLarge,
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    body_of,
    request_of,
    send_answer,
)

MOUNTED = "/function/"
HEALTH = "/_/health"
Handle = Callable[[Request], Answer]


def loaded(source: str, target: str, root: Path) -> Handle:
    """The function `target` of the file `source`, as the functions framework would load it.

    Ends the process with one line when there is no such file or function, or when its settings are missing.
    """
    settings.serving.here = True
    path = (root / source).resolve()
    if not path.is_file():
        raise SystemExit(f"cannot start: FUNCTION_SOURCE: expected a file, got {source}")
    handle = getattr(_module(path, root.resolve()), target, None)
    if not callable(handle):
        raise SystemExit(f"cannot start: FUNCTION_TARGET: expected a function of {source}, got {target}")
    return handle


def _module(path: Path, root: Path) -> Any:
    """By its package's name where it has one, so that its neighbours import the same module."""
    if path.is_relative_to(root):
        return importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class Functions:
    """The ASGI application: one function at every path, or several, each below /function/<name>."""

    def __init__(self, threads: int, alone: Handle | None = None, mounted: Mapping[str, Handle] | None = None):
        self._alone, self._mounted = alone, dict(mounted or {})
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="function")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        handle, path = self._find(scope["path"])
        scope = scope | {"path": path}
        try:
            answer = await (self._outside(path) if handle is None else self._answer(handle, scope, receive))
        except Disconnected:
            return
        await send_answer(send, answer, scope["method"] == "HEAD")

    def _find(self, path: str) -> tuple[Handle | None, str]:
        if self._alone is not None:
            return self._alone, path
        name, slash, below = path.removeprefix(MOUNTED).partition("/")
        if not path.startswith(MOUNTED) or name not in self._mounted:
            return None, path
        return self._mounted[name], slash + below or "/"

    async def _outside(self, path: str) -> Answer:
        if path == metrics.PATH:
            return metrics.answer()
        if path == HEALTH:
            return json_answer({"status": "UP"})
        return json_answer({"error": "expected /function/<name>"}, 404)

    async def _answer(self, handle: Handle, scope: Scope, receive: Receive) -> Answer:
        try:
            body = await body_of(receive, getattr(handle, "largest", MOST_BODY))
        except BodyTooLarge:
            return handle.too_large(request_of(scope, b"")) if hasattr(handle, "too_large") else _too_large()
        except BodyTooSlow:
            return TOO_SLOW
        request = request_of(scope, body)
        if scope["path"].endswith(HEALTH) or not getattr(handle, "blocks", True):
            return handle(request)
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(handle, request))


MOST_BODY = 8 * 1024 * 1024


def _too_large() -> Answer:
    return json_answer({"error": f"expected at most {MOST_BODY} bytes"}, 413)

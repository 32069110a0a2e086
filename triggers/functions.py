"""Functions behind one event loop: probes are answered on the loop, work is done by threads.

So a probe never waits for work, and a slow client never holds a thread.
"""

import importlib
import importlib.util
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from functions.shared import installation, later, settings
from functions.shared.answers import RETRY_AFTER, Answer, json_answer
from functions.shared.request import Request
from functions.shared.telemetry import metrics
from triggers.asgi import (
    TOO_SLOW,
    BodyTooLarge,
    BodyTooSlow,
    Disconnected,
    Receive,
    Scope,
    Send,
    authorization,
    body_of,
    request_of,
    send_answer,
)
from triggers.garbage import keep_what_is_loaded
from triggers.grouped import Grouped
from triggers.threads import Behind, Handle, Threads

MOUNTED = "/function/"
HEALTH = "/_/health"
BEHIND = json_answer({"error": "too many requests wait already"}, 503, RETRY_AFTER)


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
    """The ASGI application: one function at every path, or several, each below /function/<name>.

    Each has `threads` of its own, so that in one process they wait for each other as little as in many.
    """

    def __init__(self, threads: int, alone: Handle | None = None, mounted: Mapping[str, Handle] | None = None):
        self._alone, self._mounted = alone, dict(mounted or {})
        self._in_threads = {
            id(handle): _in_threads(handle, threads) for handle in (alone, *self._mounted.values()) if handle
        }
        self._has_answered = False

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
        if not self._has_answered:
            self._has_answered = True
            threading.Thread(target=_load_the_rest, name="later", daemon=True).start()

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
        # A probe brings no token and no body; a stranger's nobody has to keep.
        is_internal = getattr(handle, "internal", False)
        is_stranger = is_internal and not installation.is_ours(authorization(scope))
        try:
            body = b"" if is_stranger else await body_of(receive, getattr(handle, "largest", MOST_BODY))
        except BodyTooLarge:
            return handle.too_large(request_of(scope, b"")) if hasattr(handle, "too_large") else _too_large()
        except BodyTooSlow:
            return TOO_SLOW
        request = request_of(scope, body)
        request.is_ours = is_internal and not is_stranger
        if scope["path"].endswith(HEALTH) or not getattr(handle, "blocks", True):
            return handle(request)
        if (admit := getattr(handle, "admit", None)) and (refusal := await admit(request)):
            return refusal
        try:
            return await self._in_threads[id(handle)](request)
        except Behind:
            return handle.busy(request) if hasattr(handle, "busy") else BEHIND


def _in_threads(handle: Handle, most: int) -> Callable[[Request], Awaitable[Answer]]:
    threads = Threads(most)
    if getattr(handle, "grouped", False):
        return Grouped(handle, threads).answer
    return partial(threads.answer, handle)


def _load_the_rest() -> None:
    later.finish()
    keep_what_is_loaded()


MOST_BODY = 8 * 1024 * 1024


def _too_large() -> Answer:
    return json_answer({"error": f"expected at most {MOST_BODY} bytes"}, 413)

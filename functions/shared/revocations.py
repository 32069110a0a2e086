"""Whether an access token was revoked before it expired: auth's short list, kept for seconds.

The list has nobody but those who lost a role, were disabled or deleted, or got another password within the life of a
token. Under load it is fetched beside the requests, which wait for it only when what is known has become too old.
"""

import threading
import time
from logging import WARNING
from typing import Any, Literal

from pydantic import Field

from functions.shared.errors import Busy
from functions.shared.settings import CallSettings, InstallationSettings, read
from functions.shared.telemetry.logs import log

FUNCTION = "auth-revocations"
OFF = "off"
# A list is used until it is twice as old as it should be; while auth cannot be reached, for this long.
LONGEST_SECONDS = 60.0


class RevocationSettings(CallSettings, InstallationSettings):
    """How old the list may be."""

    auth_revocation_seconds: float | Literal["off"] = Field(
        default=5, description="seconds after which auth is asked again whose tokens were revoked; or: off"
    )


class Revocations:
    """What was fetched last, when, and when it was last tried."""

    def __init__(self) -> None:
        self._versions: dict[str, int] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = threading.Lock()

    def has(self, claims: dict[str, Any]) -> bool:
        """Whether the token with these claims was revoked. Raises Busy when nobody can tell."""
        seconds = read(RevocationSettings).auth_revocation_seconds
        if seconds == OFF:
            return False
        self._refresh(seconds)
        return claims.get("ver", 0) < self._versions.get(claims["user_name"], 0)

    def _refresh(self, seconds: float) -> None:
        now, longest = time.monotonic(), max(LONGEST_SECONDS, 2 * seconds)
        # Who comes while a list is on its way, and has none that will do, waits for it too.
        if now - self._tried_at > 2 * seconds or now - self._fetched_at > longest:
            with self._fetching:
                if now - self._tried_at > seconds:
                    self._fetch()
        elif now - self._tried_at > seconds and self._fetching.acquire(blocking=False):
            threading.Thread(target=self._fetch_beside, name="revocations", daemon=True).start()
        if now - self._fetched_at > longest:
            raise Busy("nobody can tell whether the token was revoked")

    def _fetch_beside(self) -> None:
        try:
            self._fetch()
        finally:
            self._fetching.release()

    def _fetch(self) -> None:
        # Only here: a function's cold start has no use for it.
        from functions.shared.call import CallFailed, call

        self._tried_at = began = time.monotonic()
        try:
            self._versions = call(FUNCTION, {})["versions"]
            self._fetched_at = began
        except CallFailed as problem:
            log("revoked tokens not known", level=WARNING, reason=str(problem))


revocations = Revocations()

"""Who belongs to this installation: its functions and triggers know each other by a secret that all of them have.

It comes as `Authorization: Bearer ...` with every call of a step, an internal method, a scheduled function, the
dead-letter sink and the broker's ingress. While it is changed it has two values, `NEW.OLD`: both are sent, and one
that is known is enough. Where the environment names a file, that is read again every few seconds: nothing has to be
restarted, and it does not matter who sees the change first.
"""

import hmac
import time

from functions.shared.answers import RETRY_AFTER, Answer, json_answer
from functions.shared.settings import InstallationSettings, Misconfigured, read, read_again

OFF = "off"
# Where it was changed, the old value has to stay for longer than this.
READ_AGAIN_SECONDS = 15
EXPECTED = "expected the installation's token: Authorization: Bearer, and what INSTALLATION_TOKEN holds"


class _Token:
    """The text that was read last; a file that cannot be read for a moment must not fail a request."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._text, self._read_at = "", 0.0

    def text(self) -> str:
        now = time.monotonic()
        if not self._text:
            self._text, self._read_at = read(InstallationSettings).installation_token, now
        elif now - self._read_at > READ_AGAIN_SECONDS:
            self._text, self._read_at = self._again(), now
        return self._text

    def _again(self) -> str:
        try:
            return read_again(InstallationSettings).installation_token
        except Misconfigured:
            return self._text


token = _Token()


def headers() -> dict[str, str]:
    """What a call to another part of the installation carries; nothing where tokens are switched off."""
    text = token.text()
    return {} if text == OFF else {"Authorization": f"Bearer {text}"}


def is_ours(authorization: str | None) -> bool:
    """Whether this Authorization header comes from the installation; whatever is compared takes the same time."""
    text = token.text()
    if text == OFF:
        return True
    scheme, _, sent = (authorization or "").partition(" ")
    pairs = [(ours, theirs) for ours in text.split(".") for theirs in sent.strip().split(".", 1)]
    found = [hmac.compare_digest(ours.encode(), theirs.encode()) for ours, theirs in pairs]
    return scheme.lower() == "bearer" and any(found)


def unauthorized() -> Answer:
    """What strangers are answered."""
    body = {"error": "unauthorized", "error_description": EXPECTED}
    return json_answer(body, 401, {"WWW-Authenticate": "Bearer"})


def not_now() -> Answer:
    """What they are answered where events are taken: Knative's dispatcher takes a 401 for a delivery, and would drop
    every event of an installation whose token was changed too fast."""
    return json_answer({"error": EXPECTED}, 503, RETRY_AFTER)

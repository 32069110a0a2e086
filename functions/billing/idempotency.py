"""A request with an Idempotency-Key moves money once, however often it is sent: its answer is kept with the key.

A key belongs to its caller, so clients cannot meet; the internal endpoints are one caller, whoever calls them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from functions.shared import exact_json
from functions.shared.database import Database
from functions.shared.idempotency import HEADER, IdempotencyKey
from functions.shared.rest import Response
from schemas.answers import Simple
from schemas.billing import BalanceChange

INTERNAL = ""
USED = f"{HEADER}: expected a new one for another request, got one that was used before"

Moved = Simple | Response[Simple]

KNOWN = "SELECT operation, request, answer FROM idempotency_keys WHERE caller = :caller AND key = :key"

# In the transaction in which the money moves. Of two at once the second waits here, is beaten, and with it what it
# has moved; its next try finds the first one's answer.
KEEP = """
    INSERT INTO idempotency_keys (caller, key, operation, request, answer)
    VALUES (:caller, :key, :operation, :request, :answer)
"""


@dataclass(frozen=True)
class Once:
    """Who asks, by which key, for what."""

    caller: str
    key: IdempotencyKey | None
    operation: str
    body: BalanceChange

    def do(self, work: Callable[[], Simple], db: Database) -> Moved:
        """Do the work, or give the answer that was given before; without a key nobody knows of a before."""
        if self.key is None:
            return work()
        known = db.row(KNOWN, caller=self.caller, key=self.key)
        if known is None:
            return self._keep(work(), db)
        if not self._is(known):
            return Response(Simple.refused(USED), 422)
        return Simple.model_validate(exact_json.loads(known.answer))

    def _keep(self, answer: Simple, db: Database) -> Simple:
        db.rows(
            KEEP,
            caller=self.caller,
            key=self.key,
            operation=self.operation,
            request=exact_json.dumps(self.body.model_dump(by_alias=True)),
            answer=exact_json.dumps(answer.model_dump(by_alias=True)),
        )
        return answer

    def _is(self, known: object) -> bool:
        """Compared as models: a field that is new since then, and was left out, makes no difference."""
        before = BalanceChange.model_validate(exact_json.loads(known.request))
        return (known.operation, before) == (self.operation, self.body)

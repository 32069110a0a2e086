"""Which application asks: the client credentials of the OAuth endpoints."""

import hmac

from pydantic import Field

from functions.auth.tokens import CLIENT
from functions.shared.answers import Answer, json_answer
from functions.shared.request import Request
from functions.shared.settings import Settings, read


class ClientSettings(Settings):
    """The secret of the one client."""

    later = ("werkzeug.datastructures",)
    oauth_client_secret: str = Field(min_length=1, description=f"secret of the OAuth client {CLIENT}")


class NotTheClient(Exception):
    """The request comes without the client's credentials, or with wrong ones."""

    def __init__(self, status: int, error: str, description: str):
        super().__init__(description)
        self.status, self.error = status, error

    def answer(self) -> Answer:
        """401 asks for credentials, 403 has seen them."""
        headers = {"WWW-Authenticate": 'Basic realm="oauth2/client"'} if self.status == 401 else {}
        body = {"error": self.error, "error_description": str(self)}
        return json_answer(body, self.status, headers | {"Cache-Control": "no-store"})


def check(request: Request) -> None:
    """Check the client's credentials in constant time. Raises NotTheClient."""
    sent = _credentials(request.headers.get("authorization"))
    if sent is None:
        raise NotTheClient(401, "unauthorized", "Full authentication is required to access this resource")
    # Two while it is changed, by lines; each is compared, so that whatever is sent takes the same time.
    known = [f"{CLIENT}:{secret}".encode() for secret in read(ClientSettings).oauth_client_secret.split()]
    if not any([hmac.compare_digest(sent, each) for each in known]):
        raise NotTheClient(403, "invalid_client", "Bad client credentials")


def _credentials(header: str | None) -> bytes | None:
    """As `name:secret`; None where there are none, or of another scheme than Basic."""
    from werkzeug.datastructures import Authorization

    try:
        given = Authorization.from_header(header)
    except ValueError:
        # The library decodes base64, which is ASCII, and forgets that a header need not be.
        return None
    return f"{given.username}:{given.password}".encode() if given and given.type == "basic" else None

"""What auth's REST methods take and give."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, RootModel, model_validator

from schemas.answers import AdminEnvelope, Envelope
from schemas.error_codes import USER_NOT_FOUND
from schemas.fields import Email, FilledText, NewName, Page, Phone, Text, UserName, Whole, Wire, listed

# The upper limit keeps the work of hashing small, whatever is sent.
Password = Annotated[str, Field(min_length=1, max_length=128)]
Id = Annotated[Whole, Field(ge=1, le=9_223_372_036_854_775_807)]
Jwt = Annotated[str, Field(max_length=8192)]


class OAuth(Wire):
    """Anything that OAuth names: snake_case outside too."""

    model_config = ConfigDict(alias_generator=None)


# The public API


class Person(Wire):
    """Who somebody is; the middle name alone may be missing."""

    username: UserName
    first_name: FilledText
    middle_name: Text | None = None
    last_name: FilledText
    email: Email
    mobile_phone: Phone


class NewUser(Person):
    """A person who registers."""

    username: NewName
    password: Password


class FindUser(Wire):
    """Whose; without a name it is nobody's, which is refused as somebody else's."""

    username: Text | None = None


class UserFound(Envelope):
    """What the system knows about its user."""

    username: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    mobile_phone: str | None = None


class TokenRequest(OAuth):
    """Name and password, or a refresh token; whatever is missing is answered as a wrong password."""

    username: Text | None = None
    password: Annotated[str, Field(max_length=128)] | None = None
    refresh_token: Jwt | None = None


class Tokens(OAuth):
    """A login: an access token for `expires_in` seconds, and a refresh token that works once."""

    access_token: str
    token_type: str = "bearer"
    refresh_token: str
    expires_in: int
    scope: str = "read write"
    email: str
    jti: str


# The administration


class Revocations(Wire):
    """User names, each with the version that a token of the user has to have at least."""

    versions: dict[str, int]


class Role(Wire):
    """A role as it is stored."""

    id: int
    name: str


class RoleChoice(Wire):
    """A role by its id or its name; when both are there, the id counts."""

    id: Id | None = None
    name: FilledText | None = None

    @model_validator(mode="after")
    def _names_a_role(self) -> "RoleChoice":
        if self.id is None and self.name is None:
            raise ValueError("expected an id or a name")
        return self


RoleChoices = Annotated[list[RoleChoice], Field(max_length=100), listed(0, 100, "roles")]


class NewRole(Wire):
    """A role to be made."""

    name: FilledText


class NewAccount(NewUser):
    """A user made by an administrator; without roles it gets ROLE_USER."""

    roles: RoleChoices | None = None
    enabled: bool = True


class AccountEdit(Wire):
    """Changes of the user of that name; what is missing or null stays, `roles` replaces all roles."""

    username: Text
    password: Password | None = None
    first_name: FilledText | None = None
    middle_name: Text | None = None
    last_name: FilledText | None = None
    email: Email | None = None
    mobile_phone: Phone | None = None
    roles: RoleChoices | None = None


class NewPassword(Wire):
    """Another password for a user."""

    id: Id
    password: Password


class UserIds(RootModel[Annotated[list[Id], Field(max_length=1000), listed(0, 1000, "ids")]]):
    """Which users: a JSON list of ids."""


class Account(Wire):
    """A user as an administrator sees it in the list."""

    id: int
    roles: tuple[Role, ...]
    username: str
    first_name: str
    middle_name: str | None
    last_name: str
    email: str
    mobile_phone: str
    enabled: bool
    account_non_locked: bool = True
    account_non_expired: bool = True
    credentials_non_expired: bool = True


class UsersQuery(Page):
    """Which of the users."""


class RolesQuery(Page):
    """Which of the roles."""


class Accounts(AdminEnvelope):
    """A page of the users, by id."""

    users: tuple[Account, ...] | None = None


class AccountFound(AdminEnvelope):
    """One user as an administrator sees it; `password` is there for old clients and always null."""

    id: int | None = None
    roles: tuple[Role, ...] | None = None
    username: str | None = None
    password: None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    mobile_phone: str | None = None
    enabled: bool = False
    account_non_locked: bool = False
    account_non_expired: bool = False
    credentials_non_expired: bool = False

    @classmethod
    def of(cls, user: Any | None) -> "AccountFound":
        """The answer about a user (a row of the database), or that there is none."""
        if user is None:
            return cls.refused(USER_NOT_FOUND)
        always = {"account_non_locked": True, "account_non_expired": True, "credentials_non_expired": True}
        return cls(**user._asdict(), **always)


class PersonFound(AdminEnvelope):
    """Who the user of a name is."""

    username: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    mobile_phone: str | None = None


class Enabled(AdminEnvelope):
    """Whether a user may log in."""

    id: int | None = None
    is_enabled: bool | None = None


class PasswordChanged(AdminEnvelope):
    """Whose password was changed."""

    id: int | None = None
    changed: bool | None = None


class Deleted(AdminEnvelope):
    """Whether none of the users asked about is there any more."""

    is_successful: bool | None = None


class Roles(AdminEnvelope):
    """A page of the roles, by id."""

    roles: tuple[Role, ...] | None = None


class RoleMade(AdminEnvelope):
    """The role that was made."""

    id: int | None = None
    name: str | None = None


# OAuth


class GrantRequest(OAuth):
    """The form of the token endpoint."""

    grant_type: Text | None = None
    username: Text | None = None
    password: Annotated[str, Field(max_length=128)] | None = None
    refresh_token: Jwt | None = None


class OAuthError(OAuth):
    """OAuth's word for what is wrong, and a text."""

    error: str
    error_description: str


class TokenCheck(OAuth):
    """The form of the check endpoint."""

    token: Jwt = ""


class Claims(OAuth):
    """What a good access token says."""

    user_name: str
    scope: tuple[str, ...]
    exp: int
    authorities: tuple[str, ...]
    jti: str
    email: str
    client_id: str
    iat: int
    active: bool = True


class TokenKey(OAuth):
    """The public key of the tokens signed now, as PEM."""

    alg: str = "SHA256withRSA"
    value: str


class Jwk(OAuth):
    """A public key as RFC 7517 has it."""

    kty: str = "RSA"
    use: str = "sig"
    alg: str = "RS256"
    kid: str
    n: str
    e: str


class Jwks(OAuth):
    """Every key that a good token may be signed with."""

    keys: tuple[Jwk, ...]

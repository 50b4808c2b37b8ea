"""Who may see what at the stand-in Directus: users, their sessions and the events they may read."""

import base64
import binascii
import hashlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aiohttp import web

COOKIE_NAME = "directus_session_token"
# Directus' SESSION_COOKIE_TTL, one day.
SESSION_LIFETIME_S = 86_400

Kind: TypeAlias = Literal["users", "events"]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who can log in; `events` are the ids he may read and may be changed at any time."""

    email: str
    password: str
    events: set[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    role: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    # Without it Directus shows a user nothing of himself but the id.
    reads_users: bool = True


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it arrived: path and query undecoded, the headers with case-insensitive names."""

    kind: Kind
    path: str
    headers: Mapping[str, str]


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """The answer of Directus to a token it does not accept: an HTTP status and an error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Access:
    """The state of a stand-in Directus, made for tests to look at and to change while it answers.

    `calls` lists the requests for users and events in the order they came. A handler in `overrides` answers all
    following requests of its kind instead of Directus; deleting it restores the truth. `names` are those of the events,
    by id; without any, events have no such field.
    """

    def __init__(self, users: Iterable[User], names: Mapping[str, str] | None = None) -> None:
        self.users = {user.email: user for user in users}
        self.names = names or {}
        self.calls: list[Call] = []
        self.overrides: dict[Kind, Handler] = {}
        self._emails: dict[str, str] = {}  # of every live session
        self._secret = uuid.uuid4().bytes

    def calls_by_kind(self) -> Counter[Kind]:
        """Count the calls, e.g. `{"users": 1, "events": 3}`."""
        return Counter(call.kind for call in self.calls)

    def sign_in(self, email: str) -> str:
        """Start a session without HTTP; return the `Cookie` header that carries it. Raises KeyError: no such user."""
        return self._cookie(self._start_session(email, lifetime_s=SESSION_LIFETIME_S))

    def expired(self, email: str) -> str:
        """Return the `Cookie` header of a session whose time is over."""
        return self._cookie(self._start_session(email, lifetime_s=-1))

    def forged(self, email: str) -> str:
        """Return the `Cookie` header of a token that somebody else has signed."""
        claims = self._claims(self.users[email], "forged", lifetime_s=SESSION_LIFETIME_S)
        return self._cookie(_signed(claims, b"somebody else's secret"))

    def truncated(self, email: str) -> str:
        """Return the `Cookie` header of a live session with half of its signature missing."""
        return self.sign_in(email)[:-20]

    def end_session(self, cookie: str) -> None:
        """End the session of a `Cookie` header, as a logout, or a refresh ten seconds later, does. Idempotent."""
        claims = self.claims_of(cookie.removeprefix(f"{COOKIE_NAME}="))
        self._emails.pop(str(claims.get("session")), None)

    def login(self, email: str, password: str) -> str | None:
        """Return the token of a new session, or None for a wrong address or password."""
        user = self.users.get(email)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            return None
        return self._start_session(email, lifetime_s=SESSION_LIFETIME_S)

    def user_of(self, token: str) -> User:
        """Return whose session a token is, in the order of Directus' own checks.

        Raises Refused: for a live session there is no other outcome than its user.
        """
        claims = self.claims_of(token)
        if not claims:
            # Not one of Directus' own tokens: it looks for a user with this static token and finds none.
            raise Refused(401, "INVALID_CREDENTIALS", "Invalid user credentials.")
        if not hmac.compare_digest(token.encode(errors="replace"), _signed(claims, self._secret).encode()):
            raise Refused(403, "INVALID_TOKEN", "Invalid token.")
        if claims["exp"] < time.time():
            raise Refused(401, "TOKEN_EXPIRED", "Token expired.")
        email = self._emails.get(claims["session"])
        if email is None:
            raise Refused(401, "INVALID_CREDENTIALS", "Invalid user credentials.")
        return self.users[email]

    @staticmethod
    def claims_of(token: str) -> dict[str, Any]:
        """Read a token's claims without believing them; empty when Directus would not call it one of its own."""
        try:
            _, body, _ = token.split(".")
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return {}
        return claims if isinstance(claims, dict) and claims.get("iss") == "directus" else {}

    def _start_session(self, email: str, *, lifetime_s: int) -> str:
        session = uuid.uuid4().hex
        claims = self._claims(self.users[email], session, lifetime_s=lifetime_s)
        self._emails[session] = email
        return _signed(claims, self._secret)

    @staticmethod
    def _claims(user: User, session: str, *, lifetime_s: int) -> dict[str, Any]:
        now = int(time.time())
        return {
            "id": user.id,
            "role": user.role,
            "app_access": False,
            "admin_access": False,
            "session": session,
            "iat": now,
            "exp": now + lifetime_s,
            "iss": "directus",
        }

    @staticmethod
    def _cookie(token: str) -> str:
        return f"{COOKIE_NAME}={token}"


def _signed(claims: Mapping[str, Any], secret: bytes) -> str:
    """Return a JSON Web Token with HMAC SHA-256 (RFC 7519, RFC 7515 appendix A.1)."""
    content = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
    signature = hmac.digest(secret, content.encode(), hashlib.sha256)
    return f"{content}.{_base64url(signature)}"


def _segment(part: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

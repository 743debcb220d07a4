"""JSON Web Tokens signed with Ed25519: who calls, for which tenant, in which role.

The algorithm list is fixed, and issuer and audience are checked (RFC 8725, sections 3.1, 3.8 and 3.9).
"""

from __future__ import annotations

import dataclasses
import enum
import os
import pathlib
import tempfile
import time
from typing import Final

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from runtime.problems import FatalError, Unauthenticated

_ALGORITHM: Final = "EdDSA"
_ISSUER: Final = "drover"
_AUDIENCE: Final = "drover"


class Role(enum.StrEnum):
    """What a caller may do; see docs/architecture.md."""

    VIEWER = "viewer"
    DISPATCHER = "dispatcher"
    FORWARDER = "forwarder"
    DEVICE = "device"
    ADMIN = "admin"
    SERVICE = "service"


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """Who a valid token speaks for."""

    subject: str
    tenant: str
    role: Role
    expires_at_s: float
    credential: int | None = 0
    """Which of the subject's credentials it signed in with, counted from 1; 0 where the token names none, None with a
    certificate. What a number is worth is the server's to know.
    """


class InvalidToken(Unauthenticated):
    """A token that is missing, malformed, expired, or not ours."""

    code = "invalid_token"


class Issuer:
    """Signs tokens."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    def issue(self, subject: str, tenant: str, role: Role, lifetime_s: float, *, credential: int = 0) -> str:
        """A token for `subject`, valid from now for `lifetime_s` seconds; as its credential of that number, if any."""
        now = time.time()
        claims: dict[str, str | int] = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": subject,
            "tenant": tenant,
            "role": role.value,
            "iat": int(now),
            "exp": int(now + lifetime_s),
        }
        if credential:
            claims["credential"] = credential
        return jwt.encode(claims, self._private_key, algorithm=_ALGORITHM)


class Verifier:
    """Checks tokens."""

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        self._public_key = public_key

    def verify(self, token: str) -> Caller:
        """Who the token speaks for. Raises InvalidToken."""
        try:
            claims = jwt.decode(
                token,
                self._public_key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                options={"require": ["exp", "iat", "aud", "iss", "sub"]},
            )
            subject, tenant, credential = claims["sub"], claims["tenant"], claims.get("credential", 0)
            if not isinstance(subject, str) or not isinstance(tenant, str) or not isinstance(credential, int):
                raise InvalidToken("the token's claims are not of the right type")
            return Caller(subject, tenant, Role(claims["role"]), float(claims["exp"]), credential)
        except jwt.ExpiredSignatureError as error:
            raise InvalidToken("the token has expired", code="token_expired") from error
        except (jwt.InvalidTokenError, KeyError, ValueError) as error:
            raise InvalidToken("the token is not valid here") from error


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """The installation's signing key."""

    issuer: Issuer
    verifier: Verifier


def load_or_create_keys(data_dir: pathlib.Path) -> KeyPair:
    """The keys in `data_dir` (`token.key`, readable by the owner only), made on first use.

    Processes that start at the same time agree on one key. Raises FatalError when the folder or key cannot be used.
    """
    path = data_dir / "token.key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            handle, draft = tempfile.mkstemp(prefix="token.key.", dir=data_dir)  # readable by the owner only
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
            try:
                os.link(draft, path)  # fails when another process was first: then its key holds
            except FileExistsError:
                pass
            finally:
                pathlib.Path(draft).unlink()
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise FatalError(f"cannot use the key {path}: {error.strerror}") from error
    except ValueError as error:
        raise FatalError(f"{path} does not hold a private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise FatalError(f"{path} is not an Ed25519 key")
    return KeyPair(Issuer(key), Verifier(key.public_key()))


class ServiceToken:
    """The token of one process calling another: issued anew well before it expires.

    A token names no tenant of its own; the tenant acted for stands in the metadata key `drover-tenant`.
    """

    def __init__(self, issuer: Issuer, process: str, lifetime_s: float = 3600.0) -> None:
        self._issuer = issuer
        self._process = process
        self._lifetime_s = lifetime_s
        self._token = ""
        self._renew_at_s = 0.0

    def __call__(self) -> str:
        """A token that holds for at least half its lifetime."""
        now = time.time()
        if now >= self._renew_at_s:
            self._token = self._issuer.issue(self._process, "", Role.SERVICE, self._lifetime_s)
            self._renew_at_s = now + self._lifetime_s / 2
        return self._token

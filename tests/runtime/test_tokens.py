from __future__ import annotations

import pathlib
import stat
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from runtime.problems import FatalError
from runtime.tokens import InvalidToken, Role, ServiceToken, load_or_create_keys


def test_a_token_says_who_it_speaks_for(tmp_path: pathlib.Path) -> None:
    keys = load_or_create_keys(tmp_path)
    who = keys.verifier.verify(keys.issuer.issue("ada", "acme", Role.DISPATCHER, 60))
    assert (who.subject, who.tenant, who.role) == ("ada", "acme", Role.DISPATCHER)
    assert 50 < who.expires_at_s - time.time() <= 61


def test_an_expired_token_says_so(tmp_path: pathlib.Path) -> None:
    keys = load_or_create_keys(tmp_path)
    with pytest.raises(InvalidToken) as caught:
        keys.verifier.verify(keys.issuer.issue("ada", "acme", Role.VIEWER, -5))
    assert caught.value.code == "token_expired"


def test_forgeries_are_refused(tmp_path: pathlib.Path) -> None:
    ours = load_or_create_keys(tmp_path / "ours")
    theirs = load_or_create_keys(tmp_path / "theirs")
    pem = (tmp_path / "ours" / "token.key").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    now = int(time.time())
    sound = {
        "iss": "drover", "aud": "drover", "sub": "a", "tenant": "t", "role": "admin", "iat": now, "exp": now + 60,
    }  # fmt: skip
    assert ours.verifier.verify(jwt.encode(sound, key, "EdDSA")).tenant == "t"  # type: ignore[arg-type]
    forged = [
        "",
        "a.b.c",
        theirs.issuer.issue("ada", "acme", Role.ADMIN, 60),
        jwt.encode(sound, None, "none"),
        jwt.encode(sound, "a secret that is long enough to be one..", "HS256"),
        *(jwt.encode({**sound, **change}, key, "EdDSA") for change in (  # type: ignore[arg-type]
            {"aud": "another"}, {"iss": "another"}, {"role": "emperor"}, {"tenant": 7}, {"iat": now + 3600},
        )),
        *(jwt.encode({k: v for k, v in sound.items() if k != gone}, key, "EdDSA") for gone in sound),  # type: ignore[arg-type]
    ]  # fmt: skip
    for token in forged:
        with pytest.raises(InvalidToken):
            ours.verifier.verify(token)


def test_starting_together_agrees_on_one_private_key(tmp_path: pathlib.Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(lambda _: load_or_create_keys(tmp_path), range(8)))
    token = pairs[0].issuer.issue("ada", "acme", Role.VIEWER, 60)
    assert all(pair.verifier.verify(token).subject == "ada" for pair in pairs)
    assert stat.S_IMODE((tmp_path / "token.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["token.key"]


def test_a_damaged_key_is_one_clear_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "token.key").write_text("nonsense")
    with pytest.raises(FatalError, match="does not hold a private key"):
        load_or_create_keys(tmp_path)


def test_a_service_token_is_renewed_before_it_expires(tmp_path: pathlib.Path) -> None:
    keys = load_or_create_keys(tmp_path)
    token = ServiceToken(keys.issuer, "gateway", lifetime_s=2.0)
    first = token()
    assert token() == first
    time.sleep(1.1)
    assert token() != first
    assert keys.verifier.verify(token()).role is Role.SERVICE

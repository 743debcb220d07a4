"""The name of an event: the same log gives the same names, so that whoever receives an event twice can tell."""

from __future__ import annotations

import hashlib


def event_id(tenant: str, device_id: str, kind: str, subject: str, observed_at_us: int, revision: int) -> str:
    """32 hexadecimal digits: BLAKE2b-128 over the arguments, each text preceded by its length in bytes.

    The lengths keep ("ab", "c") apart from ("a", "bc"). `subject` names the thing and its version, as
    `CoreEvent.subject` does: an edited fence makes new events, not repetitions of old ones.
    """
    digest = hashlib.blake2b(digest_size=16)
    for text in (tenant, device_id, kind, subject):
        raw = text.encode()
        digest.update(len(raw).to_bytes(4, "little"))
        digest.update(raw)
    digest.update(observed_at_us.to_bytes(8, "little", signed=True))
    digest.update(revision.to_bytes(4, "little"))
    return digest.hexdigest()

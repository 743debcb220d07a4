"""Page tokens: where the next page of shipments begins, opaque to callers, refused when it is not ours."""

from __future__ import annotations

import base64
import binascii
import json

from runtime.problems import Invalid
from services.shipment.commands import PageKey
from services.shipment.model import Shipment, ShipmentId


class InvalidPageToken(Invalid):
    """A token that no list of shipments gave."""

    code = "invalid_page_token"

    def __init__(self) -> None:
        super().__init__("the page token is not one of ours")


def encode(last: Shipment) -> str:
    """The token of the page after the one that ended with `last`."""
    key = json.dumps([last.created_at_us, last.shipment_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode(token: str) -> PageKey | None:
    """What `encode` put in; None for the first page. Raises InvalidPageToken."""
    if not token:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (binascii.Error, ValueError) as error:
        raise InvalidPageToken from error
    match key:
        case [int(created_at_us), str(shipment_id)] if 0 <= created_at_us < 2**63:
            return PageKey(created_at_us, ShipmentId(shipment_id))
        case _:
            raise InvalidPageToken

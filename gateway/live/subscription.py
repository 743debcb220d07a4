"""What a client asked to see: the message that says so, and which rows it selects."""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pydantic

Mask = npt.NDArray[np.bool_]
Events = Literal["all", "alerts", "none"]
Format = Literal["binary", "json"]


class Viewport(NamedTuple):
    """Degrees; west and east within -180 to 180. West beyond east spans the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def contains(self, longitude_deg: npt.NDArray[np.float64], latitude_deg: npt.NDArray[np.float64]) -> Mask:
        """Which points lie inside; edges do, NaN does not."""
        inside = (latitude_deg >= self.south) & (latitude_deg <= self.north)
        if self.west <= self.east:
            inside &= (longitude_deg >= self.west) & (longitude_deg <= self.east)
        else:
            inside &= (longitude_deg >= self.west) | (longitude_deg <= self.east)
        return inside


def viewport(west: float, south: float, east: float, north: float) -> Viewport:
    """A viewport as maps report it: longitudes may run on beyond ±180. Raises ValueError."""
    if not all(map(math.isfinite, (west, south, east, north))):
        raise ValueError("a viewport's edges are finite numbers")
    if south > north:
        raise ValueError("a viewport's south is not north of its north")
    if abs(west) > 100_000 or abs(east) > 100_000:
        raise ValueError("a viewport's west and east are degrees")
    if east - west >= 360.0:
        return Viewport(-180.0, south, 180.0, north)
    return Viewport(_wrapped(west), south, _wrapped(east), north)


def _wrapped(longitude_deg: float) -> float:
    """Into -180 to 180; both ends stay what they are."""
    if -180.0 <= longitude_deg <= 180.0:
        return longitude_deg
    return (longitude_deg + 180.0) % 360.0 - 180.0


class Subscription(NamedTuple):
    """One of `viewport` and `device_numbers` (sorted), or neither for everything the tenant has."""

    viewport: Viewport | None
    device_numbers: tuple[int, ...] | None
    format: Format
    events: Events

    @property
    def selection(self) -> Selection:
        """What decides which positions are sent; clients that share it share frames."""
        return Selection(self.viewport, self.device_numbers, self.format)


class Selection(NamedTuple):
    """The part of a subscription that concerns positions."""

    viewport: Viewport | None
    device_numbers: tuple[int, ...] | None
    format: Format

    def fingerprint(self) -> str:
        """The same for the same selection, in any process."""
        return hashlib.blake2b(repr(tuple(self)).encode(), digest_size=8).hexdigest()


class SubscribeMessage(pydantic.BaseModel):
    """`{"type": "subscribe", ...}` as a client sends it."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    type: Literal["subscribe"]
    viewport: tuple[float, float, float, float] | None = pydantic.Field(None, strict=False)
    devices: list[Annotated[str, pydantic.Field(max_length=256)]] | None = None
    everything: Literal[True] | None = None
    format: Format = "binary"
    events: Events = "all"
    resume: str | None = pydantic.Field(None, max_length=256)
    sequence: int | None = pydantic.Field(None, ge=0, le=2**53, strict=False)

    @pydantic.model_validator(mode="after")
    def _one_of(self) -> SubscribeMessage:
        if sum(choice is not None for choice in (self.viewport, self.devices, self.everything)) != 1:
            raise ValueError("say one of viewport, devices and everything")
        if self.viewport is not None:
            viewport(*self.viewport)
        return self


class PingMessage(pydantic.BaseModel):
    """`{"type": "ping"}`."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    type: Literal["ping"]


_MESSAGE: Final[pydantic.TypeAdapter[SubscribeMessage | PingMessage]] = pydantic.TypeAdapter(
    Annotated[SubscribeMessage | PingMessage, pydantic.Field(discriminator="type")]
)


def parse_message(text: str | bytes) -> SubscribeMessage | PingMessage:
    """A client's message. Raises pydantic.ValidationError."""
    return _MESSAGE.validate_json(text)

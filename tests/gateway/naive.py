"""The meaning of the live view, slowly and obviously: dicts instead of columns, everything looked at every time."""

from __future__ import annotations

import dataclasses

from gateway.live.subscription import Viewport


@dataclasses.dataclass(frozen=True)
class Fix:
    observed_at_us: int
    longitude_deg: float
    latitude_deg: float


class Fleet:
    """The newest fix of every device, as of the last tick."""

    def __init__(self) -> None:
        self.coming: dict[int, Fix] = {}
        self.visible: dict[int, Fix] = {}

    def take(self, number: int, fix: Fix) -> None:
        if number not in self.coming or fix.observed_at_us > self.coming[number].observed_at_us:
            self.coming[number] = fix

    def advance(self) -> None:
        self.visible = dict(self.coming)

    def seen(self, viewport: Viewport | None, numbers: set[int] | None) -> dict[int, Fix]:
        """What a client must have on its screen."""
        return {
            number: fix
            for number, fix in self.visible.items()
            if (viewport is None or contains(viewport, fix)) and (numbers is None or number in numbers)
        }


def contains(viewport: Viewport, fix: Fix) -> bool:
    if not viewport.south <= fix.latitude_deg <= viewport.north:
        return False
    if viewport.west <= viewport.east:
        return viewport.west <= fix.longitude_deg <= viewport.east
    return fix.longitude_deg >= viewport.west or fix.longitude_deg <= viewport.east

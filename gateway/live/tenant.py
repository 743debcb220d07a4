"""What one tenant's clients share: its positions, its devices' names, and what they look at."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable
from typing import Final

from gateway.live.positions_table import PositionsTable
from gateway.live.subscription import Selection


class Tenant:
    """A tenant that has, or lately had, clients.

    Row numbers are those of `table`: `device_ids[row]`, `display_names[row]`.
    """

    def __init__(self, name: str, number: int, history_ticks: int) -> None:
        self.name: Final = name
        self.number: Final = number
        """Stands for the tenant in arrays; from 1, never given again."""
        self.epoch: Final = secrets.token_hex(4)
        """Tells resume tokens of this table from those of another."""
        self.table: Final = PositionsTable(history_ticks)
        self.device_ids: Final[list[str]] = []
        self.display_names: Final[list[str]] = []
        self.row_of_id: Final[dict[str, int]] = {}
        self.selections: Final[Counter[Selection]] = Counter()
        """How many clients see the same: their frames are made once."""
        self.loaded = False
        """Whether positions were fetched at least once; before that a snapshot would be empty by mistake."""
        self.idle_since_s = 0.0

    def add_devices(self, devices: Iterable[tuple[int, str, str]]) -> list[tuple[int, int]]:
        """Makes rows for devices (number, id, display name) not known yet. Returns pairs of number and row."""
        new = [(number, device_id, name) for number, device_id, name in devices if device_id not in self.row_of_id]
        first = self.table.add([number for number, _, _ in new])
        for row, (_, device_id, name) in enumerate(new, first):
            self.row_of_id[device_id] = row
            self.device_ids.append(device_id)
            self.display_names.append(name)
        return [(number, row) for row, (number, _, _) in enumerate(new, first)]

    def name_view(self, row: int) -> dict[str, object]:
        """One entry of a `names` message."""
        return {
            "device_number": int(self.table.device_number[row]),
            "device_id": self.device_ids[row],
            "display_name": self.display_names[row],
        }

"""CRC-16/IBM (also ARC): polynomial 0x8005, bits reflected, starting from 0; "123456789" gives 0xBB3D.

In bytes of Python a long frame would hold up the process: 80 ns a byte, against 1.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from geofence.kernel import kernel
from tracking_core.columns import U8

_REFLECTED_POLYNOMIAL: Final = 0xA001


def _table() -> tuple[int, ...]:
    rests = list(range(256))
    for _ in range(8):
        rests = [rest >> 1 ^ _REFLECTED_POLYNOMIAL if rest & 1 else rest >> 1 for rest in rests]
    return tuple(rests)


_TABLE: Final = np.array(_table(), np.uint16)


@kernel
def crc16(data: U8) -> int:
    """The check sum of any number of bytes."""
    rest = 0
    for byte in data:
        rest = rest >> 8 ^ int(_TABLE[(rest ^ int(byte)) & 0xFF])
    return rest

"""Places where tests of durability let the process die.

`DROVER_FAULT_POINT=before_append` kills this process, as kill -9 does, when it comes to that point for the first time;
`before_append:20` when it comes there for the twentieth.
"""

from __future__ import annotations

import os
import signal
from typing import Final, Literal

FaultPoint = Literal["before_append", "after_append", "before_ack", "after_ack"]

_NAME, _, _NUMBER = os.environ.get("DROVER_FAULT_POINT", "").partition(":")
_left: Final = {_NAME: int(_NUMBER or 1)} if _NAME else {}


def reach(point: FaultPoint) -> None:
    """Does nothing, unless the environment named this point."""
    if point in _left:
        _left[point] -= 1
        if _left[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

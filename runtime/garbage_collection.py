"""Python's collector of reference cycles, kept from looking at what stays."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Takes what has been made so far, imports above all, out of its sight, and lets it run less often.

    For a process that is about to serve. What streams through it is short-lived, comes in thousands at once, and is
    hardly ever in a cycle. A look at everything stops the process: with ten thousand connections, of nearly a hundred
    objects each, for a second. It comes now after 750,000 new objects, which is some thousand connections opened: they
    are in cycles, so it has to come.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 4, 2)

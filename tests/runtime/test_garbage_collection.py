"""The collector, calmed: it leaves alone what was there, and still finds cycles made since."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from runtime.garbage_collection import calm_collector


class Knot:
    """In a cycle with itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("_as_before")
def test_cycles_are_found_without_a_look_at_what_was_there() -> None:
    stays = Knot()
    calm_collector()
    assert gc.get_freeze_count() > 10_000
    assert not any(each is stays for each in gc.get_objects())
    old = Knot()
    gc.collect()
    gone = weakref.ref(old)
    del old
    assert gone() is not None
    more = [Knot() for _ in range(1_000_000)]
    assert gone() is None
    assert len(more) == 1_000_000

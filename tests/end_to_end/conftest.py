"""One stack for the tests that do not harm it, and a way to make others."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.stack_process import StackProcess

MakeStack = Callable[..., StackProcess]


@pytest.fixture
def make_stack(tmp_path: pathlib.Path) -> Iterator[MakeStack]:
    """Starts stacks, and stops them all at the end."""
    made: list[StackProcess] = []

    def make(*options: str, name: str = "data") -> StackProcess:
        stack = StackProcess(tmp_path / name, *options)
        made.append(stack)
        stack.start()
        return stack

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture(scope="module")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    """A stack with the simulated fleet."""
    stack = StackProcess(tmp_path_factory.mktemp("demo") / "data", "--demo", "--vehicles", "60")
    stack.start()
    yield stack
    stack.stop()

"""Page tokens come back as they were given, and nothing else does."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import page_token
from runtime.problems import Invalid


@given(st.integers(-(2**63), 2**63 - 1), st.text())
def test_tokens_come_back_as_they_were(number: int, text: str) -> None:
    token = page_token.encode("shipments", (number, text))
    assert page_token.decode("shipments", token, int, str) == (number, text)
    with pytest.raises(Invalid):
        page_token.decode("events", token, int, str)
    with pytest.raises(Invalid):
        page_token.decode("shipments", token, int)


def test_the_first_page_has_none() -> None:
    assert page_token.decode("shipments", "", int, str) is None


@given(st.text(max_size=30))
def test_no_token_crashes_it(token: str) -> None:
    with contextlib.suppress(Invalid):
        assert page_token.decode("shipments", token, int, str) is None or len(token) > 4


@pytest.mark.parametrize("token", ["W10", "bnVsbA", "WzEsMl0", "WyJhIiwiYiJd", "Wy0xLCJhIl0", "é", "W1tb" * 30_000])
def test_tokens_of_another_shape_are_refused(token: str) -> None:
    with pytest.raises(Invalid):
        page_token.decode("shipments", token, int, str)


def test_a_number_beyond_64_bits_is_refused() -> None:
    with pytest.raises(Invalid):
        page_token.decode("shipments", page_token.encode("shipments", (2**63,)), int)

"""What partitions tell each other: packed and unpacked, and only what changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking_core.naive import content_number
from tests.tracking_core.pairs import PAIR, TRAILER, TRUCK, Herd, at
from tests.tracking_core.readings import START_US, columns_of
from tracking_core.block import DamagedBlockError
from tracking_core.definitions import DeleteProximity, Proximity, PutProximity
from tracking_core.pairs.companions import (
    BEGINS,
    COUNTS,
    GONE,
    CompanionFix,
    companion_columns,
    companion_fixes,
    pack_companions,
    unpack_companions,
)
from tracking_core.pairs.counted_changes import counted_changes
from tracking_core.step_result import VerdictChangeColumns
from tracking_core.verdicts import Verdict

fixes = st.lists(
    st.builds(
        CompanionFix,
        st.integers(0, 2**32 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(-90, 90),
        st.floats(-180, 180),
        st.sampled_from([GONE, COUNTS, BEGINS]),
    )
)


@given(fixes)
def test_what_is_packed_is_unpacked(drawn):
    block = pack_companions(companion_columns(drawn))
    assert companion_fixes(unpack_companions(block)) == drawn
    assert pack_companions(unpack_companions(block)) == block


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda block: block[:10], "at least"),
        (lambda block: b"DRB1" + block[4:], "are not"),
        (lambda block: block[:-1], "are not"),
        (lambda block: block[:-1] + bytes([block[-1] ^ 1]), "checksum"),
    ],
)
def test_damaged_bytes_are_refused(harm, says):
    block = pack_companions(companion_columns([CompanionFix(1, START_US, 53.5, 10.0, COUNTS)]))
    with pytest.raises(DamagedBlockError, match=says):
        unpack_companions(harm(block))


def test_a_step_says_what_counts_now_and_what_no_more():
    rows = [at(TRUCK, 0, 0), at(TRUCK, 10, 5), at(2, 10, 5), at(TRUCK, 20, 9), at(TRUCK, 20, 9)]
    ok, jump = int(Verdict.OK), int(Verdict.IMPLAUSIBLE_JUMP)
    verdicts = np.array([ok, ok, ok, ok, int(Verdict.DUPLICATE)], np.uint8)
    # The second was put in doubt by the same step; one of an earlier step counts no more; and one in doubt, of another
    # content at the same time and place, counts in its stead.
    earlier, same = at(TRUCK, -10, 7), at(TRUCK, -20, 3)
    changed = [(rows[1], ok, jump), (earlier, ok, jump), (same, ok, jump), (same, jump, ok)]
    changes = VerdictChangeColumns(
        np.array([fix.device for fix, _, _ in changed], np.uint32),
        np.array([fix.observed_at_us for fix, _, _ in changed]),
        np.array([content_number(fix) for fix, _, _ in changed], np.uint64),
        np.array([fix.latitude_deg for fix, _, _ in changed]),
        np.array([fix.longitude_deg for fix, _, _ in changed]),
        np.array([before for _, before, _ in changed], np.uint8),
        np.array([after for _, _, after in changed], np.uint8),
    )
    said = counted_changes(columns_of(rows).positions, verdicts, changes, np.array([TRUCK, TRAILER], np.uint32))
    assert [(fix.standing, (fix.observed_at_us - START_US) // 1_000_000) for fix in said] == [
        (GONE, -10), (COUNTS, 0), (COUNTS, 20),
    ]  # fmt: skip


def test_nobody_is_told_of_devices_that_nobody_watches():
    herd = Herd()
    result = herd.engines[0].step(columns_of([at(TRUCK, 0, 0)]), herd.now_us)
    assert result.companions == ()
    herd.put(PAIR)
    assert herd.engines[0].step(columns_of([at(2, 0, 0)]), herd.now_us).companions == ()
    (told,) = herd.engines[0].step(columns_of([at(2, 10, 0), at(TRUCK, 10, 0)]), herd.now_us).companions
    assert (told.partition, told.columns.device.tolist()) == (0, [TRUCK])
    herd.define(DeleteProximity(PAIR.tenant, PAIR.proximity_id, 2))
    assert herd.engines[0].step(columns_of([at(TRUCK, 20, 0)]), herd.now_us).companions == ()


def test_a_definition_told_again_sends_nothing_again():
    herd = Herd().drive(at(TRUCK, 0, 0))
    assert len(herd.engines[0].define(PutProximity(PAIR), herd.now_us).companions) == 1
    assert herd.engines[0].define(PutProximity(dataclasses.replace(PAIR)), herd.now_us).companions == ()


def test_a_device_in_two_pairs_is_told_to_both_partitions_once():
    herd = Herd().put(PAIR).put(Proximity("acme", "other", 3, "cart", TRUCK, "truck", 10.0))
    told = herd.engines[0].step(columns_of([at(TRUCK, 0, 0), at(TRUCK, 10, 0)]), herd.now_us).companions
    assert [(each.partition, len(each.columns.device)) for each in told] == [(0, 2), (1, 2)]


def test_a_pair_that_is_made_later_does_not_disturb_one_that_is():
    herd = Herd().put(PAIR).drive(at(TRAILER, 0, 0), at(TRUCK, 0, 500), at(TRAILER, 10, 0), at(TRUCK, 10, 500))
    herd.put(Proximity("acme", "other", TRUCK, "truck", 2, "van", 10.0))
    herd.drive(at(TRUCK, 5, 0), at(TRAILER, 5, 0))
    assert [event.subject_id for event in herd.events] == ["coupled"]

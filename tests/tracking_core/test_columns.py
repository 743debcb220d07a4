"""Columns agree with the protos; blocks and live frames give back what went in, and refuse what is damaged."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from drover.telemetry.v1 import reading_pb2
from drover.tracking.v1 import event_pb2
from tests.tracking_core import fleets
from tests.tracking_core.readings import columns_of
from tracking_core import block, live_frame
from tracking_core.columns import (
    POSITION_DTYPES,
    SENSOR_DTYPES,
    TAG_DTYPES,
    PositionColumns,
    Readings,
    SensorColumns,
    TagColumns,
    concatenate,
    count,
    no_readings,
    take,
)
from tracking_core.events import Cause, EventKind
from tracking_core.verdicts import Verdict

# What a field of the wire becomes in memory. Optional integers need a value for "left out", so they are signed.
DTYPE_OF = {
    FieldDescriptor.TYPE_SFIXED64: "i8",
    FieldDescriptor.TYPE_DOUBLE: "f8",
    FieldDescriptor.TYPE_FLOAT: "f4",
    FieldDescriptor.TYPE_UINT32: "u4",
    FieldDescriptor.TYPE_UINT64: "i8",
    FieldDescriptor.TYPE_ENUM: "u1",
    FieldDescriptor.TYPE_BOOL: "u1",
}
ADDED_BY_INGEST = [("device", "u4"), ("received_at_us", "i8")]


@pytest.mark.parametrize(
    ("message", "columns", "dtypes"),
    [
        (reading_pb2.Position, PositionColumns, POSITION_DTYPES),
        (reading_pb2.SensorSample, SensorColumns, SENSOR_DTYPES),
        (reading_pb2.TagRead, TagColumns, TAG_DTYPES),
    ],
)
def test_columns_are_the_fields_of_the_proto(message, columns, dtypes) -> None:
    expected = list(ADDED_BY_INGEST)
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_BYTES:
            expected += [(f"{field.name}_high", "u8"), (f"{field.name}_low", "u8"), (f"{field.name}_length", "u1")]
        elif field.type == FieldDescriptor.TYPE_UINT32 and field.has_presence:
            expected.append((field.name, "i4"))
        else:
            expected.append((field.name, DTYPE_OF[field.type]))
    assert list(zip(columns._fields, dtypes, strict=True)) == expected


def test_numbers_and_names_are_those_of_the_protos() -> None:
    assert {f"VERDICT_{verdict.name}": verdict.value for verdict in Verdict} == dict(event_pb2.Verdict.items())
    assert {f"CAUSE_{cause.name}": cause.value for cause in Cause} == dict(event_pb2.Cause.items())
    kinds = event_pb2.TrackingEvent.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert [kind.value for kind in EventKind] == [field.name for field in kinds]


def assert_equal(first: Readings, second: Readings) -> None:
    for ours, theirs in zip(first, second, strict=True):
        for name, column, other in zip(ours._fields, ours, theirs, strict=True):
            assert column.dtype == other.dtype, name
            np.testing.assert_array_equal(column, other, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(st.lists(fleets.readings, max_size=20))
def test_a_block_gives_back_what_was_packed(rows) -> None:
    readings = columns_of(rows)
    packed = block.pack(readings)
    back = block.unpack(packed)
    assert_equal(readings, back)
    assert count(back) == len(rows)
    assert not back.positions.device.flags.writeable
    assert all(column.flags.aligned for kind in back for column in kind)


@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"X" + b[1:], lambda b: b[:5]])
def test_a_damaged_block_is_refused(spoil) -> None:
    packed = block.pack(columns_of([fleets.Position(1, 2, 3.0, 4.0)]))
    with pytest.raises(block.DamagedBlockError):
        block.unpack(spoil(packed))


@given(st.data())
def test_a_flipped_bit_is_noticed(data: st.DataObject) -> None:
    packed = bytearray(block.pack(columns_of([fleets.Position(1, 2, 3.0, 4.0), fleets.Sample(1, 2, 3, 4.0)])))
    # Bytes 20 to 23 are padding of the header, which nothing reads.
    at = data.draw(st.integers(0, len(packed) - 1).filter(lambda n: not 20 <= n < 24))
    packed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(block.DamagedBlockError):
        block.unpack(bytes(packed))


def test_take_and_concatenate() -> None:
    positions = columns_of([fleets.Position(n, n, float(n), 0.0) for n in range(5)]).positions
    assert take(positions, np.array([3, 1])).device.tolist() == [3, 1]
    assert concatenate([take(positions, slice(0, 2)), take(positions, slice(2, 5))]).device.tolist() == [0, 1, 2, 3, 4]
    assert count(no_readings()) == 0


def live(rows: int) -> live_frame.LiveColumns:
    columns = live_frame.empty_live(rows)
    for at, column in enumerate(columns):
        column[:] = np.arange(rows) + 10 * at
    columns.speed_mps[:1] = np.nan
    return columns


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_a_live_frame_gives_back_what_was_packed(rows: int) -> None:
    columns = live(rows)
    back = live_frame.unpack(live_frame.pack(columns))
    for column, other in zip(columns, back, strict=True):
        np.testing.assert_array_equal(column, other)


@pytest.mark.parametrize("spoil", [lambda f: f[:-1], lambda f: f + b"\0", lambda f: b"X" + f[1:], lambda f: f[:3]])
def test_a_damaged_frame_is_refused(spoil) -> None:
    with pytest.raises(live_frame.DamagedFrameError):
        live_frame.unpack(spoil(live_frame.pack(live(3))))


def test_a_frame_of_unequal_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="speed_mps"):
        live_frame.pack(live(3)._replace(speed_mps=np.zeros(2, np.float32)))

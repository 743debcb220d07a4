from __future__ import annotations

import math

import pytest

from drover.tracking.v1 import event_pb2
from services.tracking.events import EVENT_COLUMNS, SEVERITY_OF, event_rows, published, to_proto
from services.tracking.tables import events
from tests.services.tracking.build import T0
from tracking_core.events import (
    ArrivalMissed,
    Cause,
    CoreEvent,
    Direction,
    EventDetails,
    EventKind,
    ExcursionClosing,
    ExcursionOpening,
    FenceCrossing,
    FenceDwell,
    FencePassage,
    FenceSpeeding,
    Meeting,
    Parting,
    SignalChange,
    Standing,
    StopBeginning,
    StopEnding,
    TagPresence,
    TripEnd,
    TripStart,
)

DETAILS: dict[EventKind, EventDetails] = {
    EventKind.GEOFENCE_ENTERED: FenceCrossing("Port", restated=True),
    EventKind.GEOFENCE_EXITED: FenceCrossing("Port"),
    EventKind.EXCURSION_OPENED: ExcursionOpening(1, 2, 9.5, 8.0),
    EventKind.EXCURSION_CLOSED: ExcursionClosing(1, 2, 7.5, 12.0, T0 - 5),
    EventKind.TAG_ARRIVED: TagPresence(b"\x30\x01", 3),
    EventKind.TAG_DEPARTED: TagPresence(b"\x30\x01", 3),
    EventKind.SIGNAL_LOST: SignalChange(T0 - 7),
    EventKind.SIGNAL_RESTORED: SignalChange(T0 - 7),
    EventKind.GEOFENCE_DWELT: FenceDwell("Port", T0 - 9),
    EventKind.GEOFENCE_SPEEDING: FenceSpeeding("Port", 14.5, 13.5),
    EventKind.GEOFENCE_CROSSED: FencePassage("Port", T0 + 3, Direction.BACKWARD),
    EventKind.CORRIDOR_LEFT: FenceCrossing("Road"),
    EventKind.CORRIDOR_RETURNED: FenceCrossing("Road"),
    EventKind.MISSED_ARRIVAL: ArrivalMissed("rotterdam", "port", T0 - 15),
    EventKind.STOP_BEGAN: StopBeginning(),
    EventKind.STOP_ENDED: StopEnding(T0 - 11),
    EventKind.TRIP_STARTED: TripStart(),
    EventKind.TRIP_ENDED: TripEnd(T0 - 13, 53.5, 10.0, 4321.5, 22.2, True),
    EventKind.DEVICES_MET: Meeting("Coupled", 8, "trailer", 41.5),
    EventKind.DEVICES_PARTED: Parting("Coupled", 8, "trailer", 123.5, T0 - 17),
}


def core(kind: EventKind, latitude_deg: float = 1.5) -> CoreEvent:
    return CoreEvent(
        kind, 7, "acme", "truck-1", "3001" if kind in {EventKind.TAG_ARRIVED, EventKind.TAG_DEPARTED} else "subject",
        4, T0, T0 + 1, Cause.TIMER, 2, True, latitude_deg, 2.5, DETAILS[kind],
    )  # fmt: skip


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_becomes_its_field_of_the_oneof(kind: EventKind):
    event = to_proto(core(kind))
    assert event.WhichOneof("kind") == kind.value
    assert event.event_id == core(kind).event_id
    assert (event.tenant, event.device_id, event.device_number) == ("acme", "truck-1", 7)
    assert (event.observed_at_us, event.confirmed_at_us) == (T0, T0 + 1)
    assert (event.cause, event.revision, event.assumed) == (event_pb2.CAUSE_TIMER, 2, True)
    assert (event.latitude_deg, event.longitude_deg) == (1.5, 2.5)
    detail = getattr(event, kind.value)
    for name, value in DETAILS[kind]._asdict().items():
        # Only an entry is ever restated.
        assert getattr(detail, name, False) == value
    if isinstance(DETAILS[kind], ExcursionOpening | ExcursionClosing):
        assert detail.limit_id == "subject"
    if kind is EventKind.MISSED_ARRIVAL:
        assert (detail.route_id, detail.route_version, detail.due_at_us) == ("subject", 4, T0)
    if isinstance(DETAILS[kind], FenceCrossing | FenceDwell | FenceSpeeding | FencePassage):
        assert detail.fence_id == "subject"
        assert detail.fence_version == 4
    if isinstance(DETAILS[kind], Meeting | Parting):
        assert (detail.proximity_id, detail.proximity_version) == ("subject", 4)


def test_a_correction_says_what_it_corrects():
    first = core(EventKind.GEOFENCE_ENTERED)._replace(revision=0)
    assert to_proto(first).standing == event_pb2.STANDING_TOLD
    assert not to_proto(first).amends_event_id
    assert not to_proto(first).HasField("told_at_us")
    moved = first._replace(
        revision=1, standing=Standing.AMENDED, observed_at_us=T0 - 9, first_observed_at_us=T0, told_at_us=T0
    )
    gone = moved._replace(revision=2, standing=Standing.WITHDRAWN, told_at_us=T0 - 9)
    assert len({event.event_id for event in (first, moved, gone)}) == 3
    for event, standing in ((moved, event_pb2.STANDING_AMENDED), (gone, event_pb2.STANDING_WITHDRAWN)):
        assert to_proto(event).standing == standing
        assert to_proto(event).amends_event_id == first.event_id
    assert to_proto(moved).told_at_us == T0


def test_severities():
    assert {kind.value for kind, severity in SEVERITY_OF.items() if severity == event_pb2.SEVERITY_WARNING} == {
        "corridor_left",
        "excursion_opened",
        "geofence_speeding",
        "missed_arrival",
        "signal_lost",
    }
    assert {kind.value for kind, severity in SEVERITY_OF.items() if severity == event_pb2.SEVERITY_NONE} == {
        "stop_began",
        "stop_ended",
        "trip_ended",
        "trip_started",
        "tag_arrived",
        "tag_departed",
    }
    assert set(SEVERITY_OF) == set(EventKind)


def test_numbers_and_names_are_those_of_the_protos():
    assert {cause.name: cause.value for cause in Cause} == {
        name.removeprefix("CAUSE_"): number for name, number in event_pb2.Cause.items()
    }
    assert {standing.name: standing.value for standing in Standing} == {
        name.removeprefix("STANDING_"): number for name, number in event_pb2.Standing.items()
    }
    assert {f"CROSSING_DIRECTION_{direction.name}": direction.value for direction in Direction} == dict(
        event_pb2.CrossingDirection.items()
    )
    oneof = event_pb2.TrackingEvent.DESCRIPTOR.oneofs_by_name["kind"]
    assert {kind.value for kind in EventKind} == {field.name for field in oneof.fields}


def test_an_unknown_place_is_left_out():
    event = to_proto(core(EventKind.GEOFENCE_ENTERED, math.nan))
    assert not event.HasField("latitude_deg")
    assert not event.HasField("longitude_deg")
    (row,) = event_rows([published(core(EventKind.GEOFENCE_ENTERED, math.nan))])["acme"]
    assert row[EVENT_COLUMNS.index("latitude_deg")] is None


def test_rows_fit_the_table():
    assert tuple(column.name for column in events.columns) == EVENT_COLUMNS
    (row,) = event_rows([published(core(EventKind.EXCURSION_OPENED))])["acme"]
    assert len(row) == len(EVENT_COLUMNS)
    assert row[EVENT_COLUMNS.index("kind")] == "excursion_opened"

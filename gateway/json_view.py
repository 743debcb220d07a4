"""Protos as the JSON of REST and WebSocket.

Names are the protos'. A time becomes an RFC 3339 string in UTC with microseconds, and its name loses the unit:
`observed_at_us` is `observed_at`, `planned_arrival_us` is `planned_arrival_at`. Durations stay integers of
microseconds under their own name. Enums lose their prefix and are lower case. What a device left out is null. An EPC is
upper-case hex, and `epc_uri` beside it its GS1 pure identity, null where it has none.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from starlette.responses import Response

from drover.api.tracking.v1.tracking_service_pb2 import LatestPosition, TrackPoint
from drover.tracking.v1 import event_pb2
from drover.tracking.v1.event_pb2 import Severity, TrackingEvent
from drover.tracking.v1.explanation_pb2 import Explanation
from tracking_core.tags import epc

Json = dict[str, Any]

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
# Times whose name does not end in `_at_us`. A new one is added here; a test finds `_us` fields that are neither here
# nor durations.
_TIMES: Final = {
    name: name.removesuffix("_us") + "_at"
    for name in ("planned_arrival_us", "based_on_us", "p10_us", "p50_us", "p90_us")
} | {"at_us": "at", "from_us": "from", "until_us": "until"}
DURATIONS: Final = frozenset(
    {"service_time_us", "minimum_duration_us", "duration_us", "confirm_after_us", "window_us", "dwell_us", "max_age_us"}
)

encode: Final = msgspec.json.Encoder().encode


def json_response(content: Any, status_code: int = 200, *, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. NaN becomes null."""
    return Response(encode(content), status_code, headers, media_type="application/json")


def geojson_response(content: Json, status_code: int = 200, *, headers: dict[str, str] | None = None) -> Response:
    """A GeoJSON answer (RFC 7946)."""
    return Response(encode(content), status_code, headers, media_type="application/geo+json")


def time_text(time_us: int) -> str:
    """RFC 3339 in UTC. Raises OverflowError outside the years 1 to 9999, which admission lets no device send."""
    return (_EPOCH + dt.timedelta(microseconds=time_us)).isoformat(timespec="microseconds")[:-6] + "Z"


def time_us(text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time. Raises ValueError; a time without an offset is refused."""
    if len(text) < len("2022-01-03T00:00:00Z") or text[10] not in "Tt ":
        raise ValueError("not an RFC 3339 time")
    moment = dt.datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        raise ValueError("the time has no offset from UTC")
    return (moment - _EPOCH) // _MICROSECOND


def enum_name(descriptor: EnumDescriptor, number: int) -> str:
    """`VERDICT_NO_FIX` is `no_fix`; a number this gateway does not know is `unknown_17`."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return f"unknown_{number}"
    # Enums are named in CamelCase, their values with the same words in upper case before them.
    prefix = "".join("_" + letter if letter.isupper() else letter for letter in descriptor.name)
    return value.name.lower().removeprefix(prefix.lower().lstrip("_") + "_")


def enum_number(descriptor: EnumDescriptor, name: str) -> int | None:
    """The number of a name as `enum_name` writes it, or None."""
    return next((number for number in descriptor.values_by_number if enum_name(descriptor, number) == name), None)


def _scalar(field: FieldDescriptor) -> tuple[str, Callable[[Any], Any]]:
    """The JSON name of a field, and how one value of it is written."""
    if field.name.endswith("_at_us"):
        return field.name.removesuffix("_us"), time_text
    if field.name in _TIMES:
        return _TIMES[field.name], time_text
    if field.type == FieldDescriptor.TYPE_BYTES:
        return field.name + "_base64", lambda value: base64.b64encode(value).decode()
    if field.type == FieldDescriptor.TYPE_ENUM:
        descriptor = field.enum_type
        assert descriptor is not None
        return field.name, lambda value: enum_name(descriptor, value)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return field.name, view
    return field.name, lambda value: value


@cache
def _writers(descriptor: Descriptor) -> list[Callable[[Any, Json], None]]:
    """How each field of a message outside a oneof is written; made once a message type."""
    return [_writer(field) for field in descriptor.fields if _oneof(field) is None]


def _oneof(field: FieldDescriptor) -> str | None:
    """The oneof a field belongs to, if it is a real one and not that of an `optional` field."""
    holder = field.containing_oneof
    return None if holder is None or (len(holder.fields) == 1 and holder.name.startswith("_")) else holder.name


def _writer(field: FieldDescriptor) -> Callable[[Any, Json], None]:
    name, write = _scalar(field)
    source = field.name
    if source == "epc":
        return _write_epc
    if field.is_repeated:

        def repeated(message: Any, json: Json) -> None:
            json[name] = [write(value) for value in getattr(message, source)]

        return repeated
    if field.has_presence:

        def present(message: Any, json: Json) -> None:
            json[name] = write(getattr(message, source)) if message.HasField(source) else None

        return present
    if write is time_text and not source.endswith("_at_us"):

        def never(message: Any, json: Json) -> None:
            value = getattr(message, source)
            json[name] = write(value) if value else None  # `based_on_us` 0: never

        return never

    def plain(message: Any, json: Json) -> None:
        json[name] = write(getattr(message, source))

    return plain


def _write_epc(message: Any, json: Json) -> None:
    json["epc"] = message.epc.hex().upper()
    json["epc_uri"] = epc.uri_of(message.epc)


def view(message: Message) -> Json:
    """Any message without maps or oneofs, field by field; `event` does those with a oneof."""
    json: Json = {}
    for write in _writers(message.DESCRIPTOR):
        write(message, json)
    return json


def is_alert(event: TrackingEvent) -> bool:
    """Whether an event is marked for people."""
    return event.severity > Severity.SEVERITY_NONE


def event(message: TrackingEvent) -> Json:
    """An event: `kind` is the name of the oneof's field, `details` what that field holds."""
    kind = message.WhichOneof("kind")
    details = view(getattr(message, kind)) if kind else {}
    return {**view(message), "kind": kind, "alert": is_alert(message), "details": details}


def explanation(message: Explanation) -> Json:
    """An explanation, with the events in it as `event` writes them."""
    json = view(message)
    for told, written in zip(message.events, json["events"], strict=True):
        written["revisions"] = [event(each) for each in told.revisions]
    return json


def position_feature(message: LatestPosition) -> Json:
    """A latest position as a GeoJSON Feature; its id is the device's."""
    properties = view(message)
    coordinates = [properties.pop("longitude_deg"), properties.pop("latitude_deg")]
    return {
        "type": "Feature",
        "id": message.device_id,
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": properties,
    }


def track_feature(device_id: str, points: Sequence[TrackPoint], next_cursor: str | None) -> Json:
    """A piece of a track as a GeoJSON Feature; the lists in its properties go along with the coordinates.

    RFC 7946 (3.1.4) asks a LineString for two positions; a single point is a Point, and none is a null geometry.
    """
    coordinates = [[point.longitude_deg, point.latitude_deg] for point in points]
    geometry: Json | None = None
    if len(coordinates) == 1:
        geometry = {"type": "Point", "coordinates": coordinates[0]}
    elif coordinates:
        geometry = {"type": "LineString", "coordinates": coordinates}
    verdicts = event_pb2.DESCRIPTOR.enum_types_by_name["Verdict"]
    return {
        "type": "Feature",
        "id": device_id,
        "geometry": geometry,
        "properties": {
            "device_id": device_id,
            "times": [time_text(point.observed_at_us) for point in points],
            "received_times": [time_text(point.received_at_us) for point in points],
            "speeds_mps": [point.speed_mps if point.HasField("speed_mps") else None for point in points],
            "headings_deg": [point.heading_deg if point.HasField("heading_deg") else None for point in points],
            "accuracies_m": [point.accuracy_m if point.HasField("accuracy_m") else None for point in points],
            "verdicts": [enum_name(verdicts, point.verdict) for point in points],
            "next_cursor": next_cursor,
        },
    }

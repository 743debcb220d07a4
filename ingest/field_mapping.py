"""Which fields of a foreign object are which of ours: the option `fields` of a topic rule.

Codecs of LoRaWAN devices, and makers of small devices, call their fields as they like. `fields` says for a name of ours
where its value stands, as a path between dots (`gps.lat`; a number is an index of a list), and how it is converted:
`value * scale + offset`. A quantity may have several sources: they are its probes 0, 1, 2, ...
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Final

import pydantic
from pydantic import Field

from drover.telemetry.v1.reading_pb2 import Quantity
from runtime.settings import Settings

POSITION_FIELDS: Final = (
    "latitude_deg",
    "longitude_deg",
    "altitude_m",
    "speed_mps",
    "heading_deg",
    "accuracy_m",
    "satellites",
)
CLOCK_FIELDS: Final[tuple[str, ...]] = ("observed_at_us", "sequence")
QUANTITY_FIELDS: Final = {
    name.removeprefix("QUANTITY_").lower(): number for name, number in Quantity.items() if number != 0
}
_KNOWN: Final = (*POSITION_FIELDS, *CLOCK_FIELDS, *QUANTITY_FIELDS)
_TWINS: Final = {"latitude_deg": "longitude_deg", "longitude_deg": "latitude_deg"}


class FieldSource(Settings):
    """Where a value stands, and how it is converted."""

    path: str = Field(description="Names between dots.", min_length=1)
    scale: float = Field(1.0, description="The value is multiplied by this ...", allow_inf_nan=False)
    offset: float = Field(0.0, description="... and this is added.", allow_inf_nan=False)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str) else given

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> FieldSource:
        if not all(self.path.split(".")):
            raise ValueError(f"path {self.path!r} has an empty name")
        if self.scale == 0:
            raise ValueError(f"path {self.path!r}: a scale of 0 leaves nothing")
        return self


def _as_sources(given: Any) -> Any:
    """One source, or a list of them."""
    if not isinstance(given, Mapping):
        return given
    return {name: each if isinstance(each, list | tuple) else [each] for name, each in given.items()}


def _checked(fields: dict[str, tuple[FieldSource, ...]]) -> dict[str, tuple[FieldSource, ...]]:
    for name, sources in fields.items():
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(_KNOWN))}"
            raise ValueError(f"unknown field {name!r}; {hint}")
        if not sources or (len(sources) > 1 and name not in QUANTITY_FIELDS):
            raise ValueError(f"field {name!r} has {len(sources)} sources; only a quantity has several, its probes")
        if _TWINS.get(name, name) not in fields:
            raise ValueError(f"field {name!r} without {_TWINS[name]!r}")
    return fields


FieldSources = Annotated[
    dict[str, tuple[FieldSource, ...]], pydantic.BeforeValidator(_as_sources), pydantic.AfterValidator(_checked)
]
"""Checked when settings are read: an unknown field is refused with the nearest known one."""


def _defaults() -> dict[str, tuple[FieldSource, ...]]:
    names = {
        "latitude_deg": ("latitude", "lat"),
        "longitude_deg": ("longitude", "lon", "lng"),
        "altitude_m": ("altitude",),
        "heading_deg": ("heading", "course"),
        "temperature_celsius": ("temperature",),
    }
    percent = {
        "humidity_ratio": ("humidity", "relative_humidity", "humidity_percent"),
        "battery_ratio": ("battery_percent", "battery_level"),
    }
    found = {name: [FieldSource(path=each) for each in (name, *names.get(name, ()))] for name in _KNOWN}
    found["speed_mps"].append(FieldSource(path="speed_kmh", scale=1 / 3.6))
    for name, others in percent.items():
        found[name] += [FieldSource(path=each, scale=0.01) for each in others]
    return {name: tuple(sources) for name, sources in found.items()}


DEFAULTS: Final = _defaults()
"""Without `fields`: of these names the first that is there. Our own names say their unit; the others mean the same in
all codecs that we know of. `battery` is not among them: it is volts in some, and percent in others."""

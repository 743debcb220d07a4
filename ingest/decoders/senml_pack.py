"""SenML packs, resolved: every record with its whole name, unit, absolute time and value.

Source: RFC 8428. Section 4.1 for base fields (they hold from their record on, until the next of the same kind), 4.4
for versions and for labels that must be understood, 4.5.1 for names, 4.5.3 for relative times, 4.6 for what resolved
means, 6 for the integer labels of CBOR. Two places where the text leaves a choice:

- 4.5.4 counts a missing value as zero where there is a base value. A record of base fields only is not a measurement
  all the same: it is how packs set their base, as in the example of 5.1.3;
- 4.6 wants resolved records in order of time. They stay in the order of the pack: readings need no order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

VERSION: Final = 10
"""The highest version understood: RFC 8428 is 10, the drafts before it are less."""

RELATIVE_BELOW_S: Final = 2.0**28
"""Times below it are relative to now; those from it on are seconds since the epoch."""

LABELS: Final[dict[int, str]] = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""The labels of CBOR, RFC 8428, table 4."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:./_-]*")


class Record(msgspec.Struct):
    """One record as it was sent. Labels are those of the RFC."""

    bver: int | None = None
    bn: str | None = None
    bt: float | None = None
    bu: str | None = None
    bv: float | None = None
    bs: float | None = None
    n: str | None = None
    u: str | None = None
    v: float | None = None
    vs: str | None = None
    vb: bool | None = None
    vd: Any = None
    s: float | None = None
    t: float | None = None
    ut: float | None = None


class Resolved(NamedTuple):
    """One measurement that stands for itself."""

    name: str
    unit: str | None
    time_s: float
    """Since the epoch."""
    value: float | bool | str | None
    """None where the record has only a sum, or bytes, which no reading of ours has."""
    sum: float | None


class BadPackError(Exception):
    """The pack must not be used; the message says why."""


def to_records(pack: object) -> list[Record]:
    """The records of decoded JSON or CBOR with text labels. Raises BadPackError."""
    if not isinstance(pack, list):
        raise BadPackError("a pack is an array")
    for record in pack:
        if not isinstance(record, dict):
            raise BadPackError("a record is a map")
        for label in record:
            if isinstance(label, str) and label.endswith("_"):
                raise BadPackError(f"the field {label[:100]!r} must be understood, and is not")
    try:
        return msgspec.convert(pack, list[Record])
    except msgspec.ValidationError as error:
        raise BadPackError(str(error)) from None


def resolve(records: Sequence[Record], now_s: float) -> list[Resolved]:
    """The measurements of a pack, in its order; `now_s` is since the epoch. Raises BadPackError."""
    resolved: list[Resolved] = []
    base_name, base_unit = "", None
    base_time_s = 0.0
    base_value: float | None = None
    base_sum: float | None = None
    version: int | None = None
    for record in records:
        if record.bver is not None:
            if record.bver > VERSION or record.bver < 1:
                raise BadPackError(f"version {record.bver}; {VERSION} is the highest that is understood")
            if version not in {None, record.bver}:
                raise BadPackError("records of several versions")
            version = record.bver
        base_name = base_name if record.bn is None else record.bn
        base_unit = base_unit if record.bu is None else record.bu
        base_time_s = base_time_s if record.bt is None else record.bt
        base_value = base_value if record.bv is None else record.bv
        base_sum = base_sum if record.bs is None else record.bs
        if _is_of_base_fields(record):
            continue
        value = _value(record, base_value)
        total = None
        if record.s is not None or base_sum is not None:
            total = (record.s or 0.0) + (base_sum or 0.0)
        name = base_name + (record.n or "")
        if not _NAME.fullmatch(name):
            raise BadPackError(f"the name {name[:100]!r}")
        time_s = base_time_s + (record.t or 0.0)
        if time_s < RELATIVE_BELOW_S:
            time_s += now_s
        if not math.isfinite(time_s):
            raise BadPackError("a time that is not finite")
        resolved.append(Resolved(name, base_unit if record.u is None else record.u, time_s, value, total))
    return resolved


def _is_of_base_fields(record: Record) -> bool:
    return all(getattr(record, label) is None for label in ("n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"))


def _value(record: Record, base: float | None) -> float | bool | str | None:
    values = [each for each in (record.v, record.vs, record.vb, record.vd) if each is not None]
    if len(values) > 1:
        raise BadPackError("a record of several values")
    if record.v is not None:
        return record.v + (base or 0.0)
    if record.vs is not None:
        return record.vs
    if record.vb is not None:
        return record.vb
    if record.vd is None and record.s is None:
        return base
    return None

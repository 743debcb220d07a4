"""Settings from a TOML file and the environment, checked: an unknown name is refused, with the nearest known one.

`DROVER_<SECTION>_<FIELD>` overrides the file's `[section] field`; the section `common` goes without its name, both in
the environment (`DROVER_<FIELD>`) and in the file (top level).
"""

from __future__ import annotations

import difflib
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from runtime.problems import FatalError

PREFIX = "DROVER_"
COMMON = "common"
# Every process's section; each process passes over the others'.
SECTIONS = frozenset({"ingest", "tracking", "shipment", "gateway"})
# Read by tests and tools, not by processes.
OUTSIDE = frozenset(
    {"DROVER_DATA", "DROVER_CONFIG", "DROVER_TOKEN", "DROVER_URL", "DROVER_FAULT_POINT", "DROVER_NO_SKIPS"}
)


class SettingsError(FatalError):
    """A setting that is unknown or has an impossible value; one line, naming it and where it came from."""


class Settings(pydantic.BaseModel):
    """One section. Fields carry a description, a default where there is a sensible one, and SecretStr for secrets."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, validate_default=True)


class CommonSettings(Settings):
    """What all processes of one installation share."""

    data_dir: pathlib.Path = pydantic.Field(
        pathlib.Path(".drover"), description="Folder for keys, databases, snapshots."
    )
    redis_url: pydantic.SecretStr = pydantic.Field(
        pydantic.SecretStr("redis://127.0.0.1:6379/0"), description="Redis with append-only file: log and events."
    )
    partitions: int = pydantic.Field(
        4, ge=1, le=1024, description="Partitions of the telemetry log; fixed once data exist."
    )
    log_level: str = pydantic.Field("info", pattern="^(debug|info|warning|error)$", description="Least level to log.")
    log_json: bool = pydantic.Field(False, description="Log JSON lines instead of text for people.")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def _from_file(
    file: pathlib.Path, sections: Mapping[str, type[Settings]], others: frozenset[str]
) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(file.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error
    found: dict[str, dict[str, Any]] = {name: {} for name in sections}
    for key, value in document.items():
        if isinstance(value, dict):
            if key not in sections and key not in others:
                raise SettingsError(f"{file}: unknown section [{key}]{_nearest(key, [*sections, *others])}")
            if key in sections:
                found[key].update(value)
        else:
            found.setdefault(COMMON, {})[key] = value
    for section, values in found.items():
        known = list(sections[section].model_fields) if section in sections else []
        for key in values:
            if known and key not in known:
                where = key if section == COMMON else f"[{section}] {key}"
                raise SettingsError(f"{file}: unknown setting {where}{_nearest(key, known)}")
    return found


def load(
    sections: Mapping[str, type[Settings]],
    *,
    file: pathlib.Path | None = None,
    environ: Mapping[str, str],
    others: frozenset[str] = frozenset(),
) -> dict[str, Settings]:
    """The settings of each section.

    `others` names sections that belong to other processes: their variables and tables are passed over. Raises
    SettingsError.
    """
    values = _from_file(file, sections, others) if file is not None else {name: {} for name in sections}
    names = {
        PREFIX + ("" if section == COMMON else section.upper() + "_") + field.upper(): (section, field)
        for section, model in sections.items()
        for field in model.model_fields
    }
    foreign = tuple(f"{PREFIX}{name.upper()}_" for name in others)
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in OUTSIDE:
            continue
        if variable in names:
            section, field = names[variable]
            values.setdefault(section, {})[field] = text
        elif not variable.startswith(foreign):
            raise SettingsError(f"unknown setting {variable} in the environment{_nearest(variable, list(names))}")
    loaded: dict[str, Settings] = {}
    for section, model in sections.items():
        try:
            loaded[section] = model.model_validate(values.get(section, {}))
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            wrong = first["msg"].removeprefix("Value error, ")
            raise SettingsError(f"setting {field if section == COMMON else f'{section}.{field}'}: {wrong}") from error
    return loaded


Section = TypeVar("Section", bound=Settings)


def load_process(section: str, model: type[Section], environ: Mapping[str, str]) -> tuple[CommonSettings, Section]:
    """The common settings and those of one process, from the file that DROVER_CONFIG names and the environment.

    Raises SettingsError.
    """
    file = environ.get("DROVER_CONFIG")
    loaded = load(
        {COMMON: CommonSettings, section: model},
        file=pathlib.Path(file) if file else None,
        environ=environ,
        others=SECTIONS - {section},
    )
    common, own = loaded[COMMON], loaded[section]
    assert isinstance(common, CommonSettings)
    assert isinstance(own, model)
    return common, own

"""All sections of all processes, for the commands that look at the whole."""

from __future__ import annotations

import os
import pathlib

from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from runtime.settings import CommonSettings, Settings, load
from services.shipment.settings import ShipmentSettings
from services.tracking.settings import TrackingSettings

SECTIONS: dict[str, type[Settings]] = {
    "common": CommonSettings,
    "ingest": IngestSettings,
    "tracking": TrackingSettings,
    "shipment": ShipmentSettings,
    "gateway": GatewaySettings,
}


def config_file(given: pathlib.Path | None) -> pathlib.Path | None:
    """The file given, or named by DROVER_CONFIG, or drover.toml in this folder, or none."""
    if given is not None:
        return given
    named = os.environ.get("DROVER_CONFIG")
    if named:
        return pathlib.Path(named)
    here = pathlib.Path("drover.toml")
    return here if here.is_file() else None


def load_all(file: pathlib.Path | None) -> dict[str, Settings]:
    """Every section, checked. Raises SettingsError."""
    return load(SECTIONS, file=config_file(file), environ=os.environ)

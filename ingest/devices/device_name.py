"""What people call a device: a tenant and an id, as they stand in topics and tokens."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_DEVICE_ID_LENGTH: Final = 64
MAX_TENANT_LENGTH: Final = 128

# ASCII only, so that bytes and characters are the same; no `/ + #`, which mean something in topics.
_DEVICE_ID: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_DEVICE_ID_LENGTH}}}")
_TENANT: Final = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_TENANT_LENGTH}}}")


class DeviceName(NamedTuple):
    """Unique in an installation."""

    tenant: str
    device_id: str


def is_device_id(text: str) -> bool:
    """Whether a device can be called so."""
    return _DEVICE_ID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Whether a tenant can be called so."""
    return _TENANT.fullmatch(text) is not None


def user_name(name: DeviceName) -> str:
    """What the device signs in as, to MQTT brokers and in the common name of a certificate: `tenant/device`, with `:`
    written `%3A`, since Mosquitto's password file ends a name there.
    """
    return f"{name.tenant}/{name.device_id}".replace(":", "%3A")


def of_user_name(text: str) -> DeviceName | None:
    """The device that signs in so, if a device can."""
    tenant, _, device_id = text.replace("%3A", ":").partition("/")
    name = DeviceName(tenant, device_id)
    return name if is_tenant(tenant) and is_device_id(device_id) and user_name(name) == text else None


def batch_topic(name: DeviceName) -> str:
    """The topic of a device's batches; the topic of dead letters that did not come by MQTT."""
    return f"drover/v1/{name.tenant}/{name.device_id}/batch"

from __future__ import annotations

import numpy as np

from services.tracking.directory import Directory
from services.tracking.model import Device

A, B, C = Device(4, "acme", "a", ""), Device(1, "bolt", "a", ""), Device(2_000_000, "acme", "c", "")


def test_devices_are_found_by_number_and_by_id_within_their_tenant():
    directory = Directory([A, B, C])
    assert directory.device(1) == B
    assert directory.device(3) is None
    assert directory.find("acme", "a") == A
    assert directory.find("bolt", "c") is None
    assert len(directory) == 3


def test_numbers_page_in_order():
    directory = Directory([C, A])
    assert directory.numbers("acme", after=-1, limit=1) == [4]
    assert directory.numbers("acme", after=4, limit=9) == [2_000_000]
    assert directory.numbers("nobody", after=-1, limit=9) == []


def test_only_news_is_returned_and_a_changed_device_is_known_anew():
    directory = Directory([A])
    assert directory.add([A, B]) == [B]
    moved = Device(4, "bolt", "z", "Z")
    assert directory.add([moved]) == [moved]
    assert directory.find("acme", "a") is None
    assert directory.find("bolt", "z") == moved
    assert directory.numbers("acme", after=-1, limit=9) == []


def test_tenant_codes_of_columns():
    directory = Directory([A, B, C])
    codes = directory.tenant_codes(np.array([4, 1, 2_000_000, 3, 4_000_000_000], np.uint32))
    assert [directory.tenants[code] for code in codes] == ["acme", "bolt", "acme", "", ""]

"""A tenant's latest positions, fetched from the tracking service into its table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from drover.api.tracking.v1.tracking_service_pb2 import GetLatestRequest, LatestPosition
from gateway.live.device_index import DeviceIndex
from gateway.live.positions_table import Fixes
from gateway.live.tenant import Tenant
from gateway.upstream import Upstream

_PAGE = 5_000


async def fetch_latest(upstream: Upstream, tenant: Tenant, index: DeviceIndex) -> None:
    """Takes in the latest position of every device of the tenant. Raises Problem; pages before it are kept.

    What came by pub/sub in the meantime is newer, and stays.
    """
    token = ""
    while True:
        page = await upstream.call(
            upstream.tracking.GetLatest,
            GetLatestRequest(page_size=_PAGE, page_token=token),
            upstream.as_service(tenant.name),
        )
        index.put(
            tenant.number,
            tenant.add_devices((one.device_number, one.device_id, one.display_name) for one in page.positions),
        )
        _take(tenant, page.positions)
        token = page.next_page_token
        if not token:
            return


def _take(tenant: Tenant, positions: Iterable[LatestPosition]) -> None:
    columns = [
        (
            tenant.row_of_id[one.device_id],
            one.observed_at_us,
            one.longitude_deg,
            one.latitude_deg,
            one.speed_mps if one.HasField("speed_mps") else np.nan,
            one.heading_deg if one.HasField("heading_deg") else np.nan,
            one.accuracy_m if one.HasField("accuracy_m") else np.nan,
            one.received_at_us,
        )
        for one in positions
    ]
    if not columns:
        return
    rows, observed, longitude, latitude, speed, heading, accuracy, received = zip(*columns, strict=True)
    tenant.table.take(
        np.array(rows, np.int64),
        Fixes(
            np.array(observed, np.int64),
            np.array(longitude, np.float64),
            np.array(latitude, np.float64),
            np.array(speed, np.float32),
            np.array(heading, np.float32),
            np.array(accuracy, np.float32),
        ),
        np.array(received, np.int64),
    )

"""What `explain` does: looks everything up, folds it again in a thread, and answers."""

from __future__ import annotations

import asyncio

from services.tracking.commands import Explain
from services.tracking.explanations.explanation import Explanation
from services.tracking.explanations.explanation import explain as explained
from services.tracking.model import DefinitionKind, UnknownDefinition, UnknownDevice
from services.tracking.ports import Ports


async def explain(command: Explain, ports: Ports) -> Explanation:
    """Raises UnknownDevice, UnknownDefinition (there never was such a fence, or all that was of it is forgotten)."""
    device = ports.directory.find(command.tenant, command.device_id)
    if device is None:
        raise UnknownDevice(command.device_id)
    looked = await ports.explanations.look(device, command.fence_id, command.at_us, command.window_us)
    if all(version.deleted for version in looked.versions) and not looked.events:
        raise UnknownDefinition(DefinitionKind.FENCE, command.fence_id)
    # Some hundred calls of kernels, a tenth of a second: not on the event loop.
    return await asyncio.to_thread(
        explained, device.device_id, command.fence_id, command.at_us, looked, ports.engine, ports.now_us()
    )

"""A page in headless Chromium, on a gateway that is a fake but for its frames, JSON, fence rules and headers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.fake_gateway import FakeGateway
from tests.browser.world import World

TRUCKS = 60


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    """Sixty trucks, a fix a half second each, a demo session for whoever asks."""
    with FakeGateway(World(TRUCKS), fix_every_s=0.5).running() as running:
        yield running


@pytest.fixture
def page(chromium: Browser, gateway: FakeGateway) -> Iterator[Page]:
    """A tab that is not yet on the page. At its end: no script error, and nothing asked of any other host."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    context.set_default_timeout(20_000)
    tab = context.new_page()
    errors: list[str] = []
    strangers: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    # A broken content security policy is a console error, too; failed requests are tested for what they cause.
    tab.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    own = (gateway.url, gateway.url.replace("http:", "ws:"), "data:", "blob:" + gateway.url)
    tab.on("request", lambda request: None if request.url.startswith(own) else strangers.append(request.url))
    yield tab
    context.close()
    assert errors == []
    assert strangers == []

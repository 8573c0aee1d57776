"""Pages in a headless Chromium: one browser for each test process, a fresh page for each test.

VAE_AUGMENT_CHROMIUM names the browser where it is not found on the PATH.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
OWN = ("file:", "data:", "about:", "blob:")  # a page of one file asks for nothing else
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where a Chromium is, if there is one."""
    named = os.environ.get("VAE_AUGMENT_CHROMIUM")
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


class Browser:
    """A Chromium, started by the first test that asks for a page.

    Playwright leaves its event loop marked as running between calls, and no other code of the process could run one;
    so it is only while a page is open.
    """

    def __init__(self, executable: str) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._loop = asyncio.get_running_loop()
        self._chromium = self._playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        asyncio._set_running_loop(None)

    @contextmanager
    def _running(self) -> Iterator[None]:
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    @contextmanager
    def page(self, **options: Any) -> Iterator[Page]:
        """A fresh page without a network; `options` are those of a context of Playwright's.

        Raises AssertionError at the end if it logged an error, raised one, or asked for anything that is no file.
        """
        with self._running():
            context = self._chromium.new_context(offline=True, **options)
            wrong: list[str] = []
            context.on("console", lambda said: said.type == "error" and wrong.append(f"console: {said.text}"))
            context.on("weberror", lambda raised: wrong.append(f"error: {raised.error}"))
            context.on("request", lambda sent: sent.url.startswith(OWN) or wrong.append(f"request: {sent.url}"))

            def watch(page: Page) -> None:  # and windows that it opens
                page.on("websocket", lambda opened: wrong.append(f"request: {opened.url}"))
                page.on("crash", lambda crashed: wrong.append(f"crashed: {crashed.url}"))

            context.on("page", watch)
            try:
                yield context.new_page()
            finally:
                context.close()
        assert not wrong, "\n".join(wrong)

    def close(self) -> None:
        with self._running():
            self._chromium.close()
            self._playwright.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    pytest.importorskip("playwright.sync_api", reason="pages are tested with playwright, which is not installed")
    executable = chromium()
    if executable is None:
        names = ", ".join(NAMES)
        pytest.skip(f"no Chromium to open pages in: none of {names} is on the PATH; VAE_AUGMENT_CHROMIUM may name one")
    started = Browser(executable)
    yield started
    started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page; see `Browser.page` for what it fails a test for."""
    with browser.page() as opened:
        yield opened

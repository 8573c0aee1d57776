"""The fixture that other tests open pages with."""

import asyncio
import re

import pytest

from tests import browser as module


def written(folder, body):
    path = folder / "page.html"
    path.write_text(f"<!doctype html><meta charset='utf-8'><title>A page</title>{body}")
    return path.as_uri()


def visit(browser, address, test=lambda page: None):
    with browser.page() as page:
        page.goto(address)
        page.wait_for_timeout(50)
        test(page)


def test_a_file_is_opened_its_scripts_run_and_it_may_ask_for_what_it_holds_itself(page, tmp_path):
    (tmp_path / "own.js").write_text("const own = 1;")
    page.goto(written(tmp_path, "<script src='own.js'></script><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>"))
    assert page.evaluate("own") == 1
    assert page.evaluate("fetch(URL.createObjectURL(new Blob(['x']))).then(r => r.text())") == "x"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("<script>console.error('no', 3)</script>", "console: no 3"),
        ("<script>throw new TypeError('of a page')</script>", "error: .*of a page"),
        ("<script>Promise.reject(new Error('later'))</script>", "error: .*later"),
        ("<script src='missing.js'></script>", "console: Failed to load resource.*NOT_FOUND"),
        ("<img src='https://example.org/x.png'>", "request: https://example.org/x.png"),
        ("<script>open('http://example.org/')</script>", "request: http://example.org/"),
        ("<script>new WebSocket('ws://example.org/')</script>", "request: ws://example.org/"),
        ("<script>fetch('http://example.org/').catch(() => 0)</script>", "request: http://example.org/"),
    ],
)
def test_a_page_that_is_wrong_or_asks_for_the_network_fails_its_test(browser, tmp_path, body, wrong):
    with pytest.raises(AssertionError, match=wrong):
        visit(browser, written(tmp_path, body))


def test_the_tests_own_failure_comes_first(browser, tmp_path):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        visit(browser, written(tmp_path, "<script>console.error('no')</script>"), lambda page: 1 / 0)


def test_other_code_may_run_an_event_loop_between_pages(browser):
    for _ in range(2):
        with browser.page() as page:
            assert page.evaluate("2") == 2
        assert asyncio.run(asyncio.sleep(0, "slept")) == "slept"


def test_without_a_chromium_tests_of_pages_are_skipped(monkeypatch):
    pytest.importorskip("playwright.sync_api")
    monkeypatch.setattr(module, "chromium", lambda: None)
    start = module.browser.__wrapped__()
    with pytest.raises(pytest.skip.Exception, match=re.escape("chromium-browser, google-chrome is on the PATH")):
        next(start)

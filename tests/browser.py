"""Pages in a real browser, with whatever they complain about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

# No sandbox, since tests may run as root in a container; and nothing that reaches out by itself.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_page(browser: Browser, file: Path, *, script: str = "", **options: Any) -> tuple[Page, list[str]]:
    """Open a page file in a context of its own; options are those of `Browser.new_context`.

    Returns the page, and the list into which go its console errors and warnings, uncaught errors, failed requests, and
    requests for anything but files. `script` runs before those of the page. Close with `page.context.close()`.
    """
    context = browser.new_context(**options)
    if script:
        context.add_init_script(script)
    return open_in(context, file)


def open_in(context: BrowserContext, file: Path) -> tuple[Page, list[str]]:
    """Open a page file in a context that is there, which keeps what earlier pages stored."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("request", lambda request: None if _is_local(request.url) else complaints.append(f"asked for: {request.url}"))
    page.goto(file.as_uri())
    return page, complaints


def _is_local(address: str) -> bool:
    return address.startswith(("file:", "data:", "blob:"))

"""The status page in a real browser, beside a real daemon."""

import json
import re
import subprocess
import time
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.status_page import FACTS_LAST_S
from drivers.display.reading import read_code
from tests.bridge.test_status_page import Books, serving
from tests.end_to_end.conftest import WAIT_S, MakeShop, Shop
from tools.free_port import free_port

CHROMIUM = Path("/usr/bin/chromium")
in_a_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


def with_page(make_shop: MakeShop, **more: object) -> tuple[Shop, str]:
    """A shop, and its status page's address."""
    address = f"127.0.0.1:{free_port()}"
    shop = make_shop(control={"page": address}, **more)
    shop.daemon.wait_for_log("event=status-page")
    return shop, f"http://{address}"


def facts_with_code(url: str) -> dict[str, Any]:
    """What the page is told, once the bridge knows that the code is on the panel."""
    ends = time.monotonic() + WAIT_S
    while True:
        facts: dict[str, Any] = requests.get(f"{url}/status.json", timeout=5).json()
        if facts["panels"][0]["code"] == "shown" or time.monotonic() > ends:
            return facts


def in_browser(url: str, folder: Path, *, budget_ms: int = 4000) -> str:
    """The page's text as a person reads it, after its script has run for so long of its own time."""
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-extensions", f"--user-data-dir={folder / 'browser'}",
            f"--virtual-time-budget={budget_ms}", "--dump-dom", url,
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )  # fmt: skip
    body = re.sub(r"<(script|style|noscript)>.*?</\1>", "", done.stdout, flags=re.DOTALL)
    images = re.findall(r'<img src="([^"]+)"', body)
    hidden = re.sub(r"<(div|section)[^>]* hidden=[^>]*>.*?</\1>", "", body, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", hidden)).split()) + "".join(
        f" [{image}]" for image in images
    )


def test_a_sale_on_the_page(make_shop: MakeShop) -> None:
    shop, url = with_page(make_shop)
    counter = shop.terminal.sale(12500)
    _, order = shop.code()
    facts = facts_with_code(url)
    (panel,) = facts["panels"]
    assert panel["code"] == "shown"
    picture = requests.get(url + panel["picture"], timeout=5).content
    assert str(read_code(picture)).endswith(order["order_id"])
    (tender,) = facts["tenders"]
    assert (tender["counter"], tender["says"]) == (counter, "waiting for the customer")
    text = json.dumps(facts)
    for secret in (shop.folder.client_secret, "client-secret", "callback-key"):
        assert secret not in text
    shop.sandbox.approve(order["order_id"])
    assert shop.outcome(counter) == "00"
    shop.terminal.wait_for("closed", WAIT_S, counter=counter)
    assert requests.get(url + panel["picture"], timeout=5).status_code == 404


@in_a_browser
def test_a_sale_in_a_browser(make_shop: MakeShop, tmp_path: Path) -> None:
    shop, url = with_page(make_shop)
    counter = shop.terminal.sale(12500)
    shop.code()
    facts_with_code(url)
    seen = in_browser(url, tmp_path)
    assert "AKL01" in seen
    assert "T0000001 code shown" in seen
    assert "125.00 NZD waiting for the customer" in seen
    assert f"T0000001/{counter} · Kōwhai Books" in seen
    assert re.search(r"\[/panels/[0-9a-f]{32}\.png\]", seen)
    assert "does not answer" not in seen


@in_a_browser
def test_a_lost_daemon_in_a_browser(tmp_path: Path) -> None:
    """What was there stays, and is called old."""

    class EndsSoon(Books):
        def counts(self) -> dict[str, int]:
            world.now += FACTS_LAST_S
            if self.asked == 2:
                raise RuntimeError("this daemon has ended")
            return super().counts()

    with serving(tmp_path) as world:
        world.books = EndsSoon()
        world.health.begin("journal-unwritable", detail="no room")
        seen = in_browser(f"http://{world.address}/", tmp_path, budget_ms=6000)
    assert "The bridge does not answer since" in seen
    assert "What is below is old" in seen
    assert "failing The journal cannot be written (no room)" in seen
    assert "see to it Nobody stored it" in seen
    assert "125.50 NZD waiting for the customer" in seen


def test_an_address_that_is_taken_costs_no_sale(make_shop: MakeShop) -> None:
    port = free_port()
    shop = make_shop(
        listener={"address": f"127.0.0.1:{port}"}, control={"page": f"127.0.0.1:{port}"}
    )
    assert f"[control] page 127.0.0.1:{port} cannot be had" in shop.daemon.wait_for_log(
        "event=no-status-page"
    )


def test_no_page(shop: Shop) -> None:
    assert "status-page" not in shop.daemon.log

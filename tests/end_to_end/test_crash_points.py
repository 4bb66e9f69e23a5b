"""The daemon dies by SIGKILL at a crash point, is started again, and the sale ends as it must: PartPay's books judge.

Here: every commit, every effect once it is out, every call before and after PartPay's answer, every line of bytes.
What is left (`taken`, `before-write`, `before-stamp`, `before-effect`, the same places on the other ways, later
passings, deaths during recovery) `tools/crash-points` kills too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from bridge.crash_points import PASSED_BY, VARIABLE, Point
from tests.end_to_end.conftest import Shop
from tools.crashing.kill import Killed, kill, places, record
from tools.crashing.shop import Street, street
from tools.crashing.ways import WAYS
from tools.daemon_process import DaemonProcess, NotLogged

AT_ONCE = 3
HERE = (
    Point.BEFORE_COMMIT,
    Point.AFTER_COMMIT,
    Point.AFTER_EFFECT,
    Point.BEFORE_CALL,
    Point.AFTER_ANSWER,
    Point.BEFORE_BYTES,
    Point.AFTER_BYTES,
    Point.CALLBACK_CHECKED,
    Point.BEFORE_REPLY,
)
WAY_OF = {
    **dict.fromkeys(("cancel", "askpartpay.cancel", "clearpanel"), "cancel"),
    **dict.fromkeys(("time", "cancel-answer"), "reversal"),
    **dict.fromkeys(("refund", "refund-answer", "askpartpay.refund"), "refund"),
}
"""Whatever is not here lies on the way of an approved sale."""

CHOSEN = [
    *((WAY_OF.get(what, "approve"), f"{point}:{what}") for point in HERE for what in PASSED_BY[point]),
    # Taking money back is worth its own: it comes when nobody looks any more.
    ("reversal", "before-call:refund"),
    ("reversal", "after-answer:refund"),
    ("reversal", "after-commit:refund-answer"),
    ("refund", "after-commit:stored>after-commit:refund>before-bytes:"),
    ("refund", "after-commit:refund-answer>before-bytes:"),
    ("cancel", "after-commit:cancel>before-bytes:"),
    ("approve", "after-commit:status-answer>before-bytes:"),
    ("approve", "before-effect:say.outcome>after-bytes:"),
]  # fmt: skip
TWICE = [
    ("approve", ("after-answer:create", "after-commit:started")),
    ("approve", ("after-commit:callback", "before-call:status")),
    ("cancel", ("after-commit:cancel", "after-answer:cancel")),
    ("reversal", ("after-answer:refund", "before-call:refund")),
]
"""A second death in the life that recovers from the first (reliability, P2)."""

Wanted = tuple[str, tuple[str, ...]]
ALL: list[Wanted] = [*((way, (place,)) for way, place in CHOSEN), *TWICE]


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    with street(tmp_path_factory.mktemp("street")) as found:
        yield found


@pytest.fixture(scope="module")
def killed(where: Street, request: pytest.FixtureRequest) -> Iterator[Callable[[Wanted], Killed]]:
    """Several shops at once, each test waits for its own; only those that were asked for are begun."""
    asked = {
        item.callspec.params["wanted"]
        for item in request.session.items
        if getattr(item, "module", None) is request.module
        and "wanted" in getattr(getattr(item, "callspec", None), "params", {})
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun: dict[Wanted, Future[Killed]] = {
            wanted: pool.submit(kill, where, WAYS[wanted[0]], wanted[1])
            for wanted in ALL
            if wanted in asked
        }
        yield lambda wanted: begun[wanted].result()
        for future in begun.values():
            future.cancel()


@pytest.mark.parametrize("wanted", ALL, ids=lambda w: f"{w[0]}-{' then '.join(w[1])}")
def test_killed_and_started_again_it_ends_as_it_must(
    killed: Callable[[Wanted], Killed], wanted: Wanted
) -> None:
    done = killed(wanted)
    assert done.fault is None, done.fault
    assert done.reached, f"the daemon never came to {' then '.join(wanted[1])}"


def test_the_table_is_what_passes(where: Street, tmp_path: Path) -> None:
    """Every name in the table is passed on one of the ways, and nothing passes that has no name there."""
    passed: set[str] = set()
    for way in WAYS.values():
        passed |= set(record(where, way, tmp_path))
    assert passed == set(places())


def test_it_is_not_armed_where_money_is_real(shop: Shop) -> None:
    shop.daemon.stop()
    told = shop.folder.config.read_text()
    real = told.replace('environment = "custom"', 'environment = "production"')
    real = "\n".join(
        line
        for line in real.splitlines()
        if not line.startswith(("base_url", "token_url", "audience"))
    )
    shop.folder.config.write_text(real)
    for config in (real, told.replace("http://127.0.0.1", "https://localhost")):
        shop.folder.config.write_text(config)
        armed = DaemonProcess(shop.folder, environment={VARIABLE: "taken:heard.tender"})
        with pytest.raises(NotLogged, match=f"{VARIABLE} is set"):
            armed.start()
        assert armed.wait() == 2

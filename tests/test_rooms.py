"""Who may know whom, and which modules are free of input, output, clocks and randomness.

The rooms are `bridge` and `drivers`; `tools` and `tests` look at both and are never looked at. CONTRIBUTING.md says
why. An exception is a row below, with its reason; one that is no longer needed fails too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]

MAY_KNOW = {
    "drivers": {"drivers"},
    "bridge": {"bridge", "drivers"},
    "tools": {"tools", "bridge", "drivers"},
}
"""A room -> the rooms that it may import from. The configuration is read as data, never imported."""

MAY_LOOK_UP = {
    (
        "tools/bench/journal.py",
        "tests",
    ): "makes its journal with the tests' shop, not with a second one",
}
"""(module, room above) -> why it may know it."""

ROOMS = {"bridge", "drivers", "tools", "tests", "config"}

PURE = (
    "drivers/link/*.py",
    "drivers/link/encoding/*.py",
    "drivers/link/framing/*.py",
    "drivers/display/geometry.py",
    "drivers/display/packbits.py",
    "drivers/display/qr.py",
    "drivers/display/qrcode_writer.py",
    "drivers/display/raster.py",
    "drivers/display/reading.py",
    "drivers/display/segments.py",
    "drivers/display/symbol.py",
    "bridge/book.py",
    "bridge/effects.py",
    "bridge/engine.py",
    "bridge/events.py",
    "bridge/invariants.py",
    "bridge/journal/chain.py",
    "bridge/lane.py",
    "bridge/lane_events.py",
    "bridge/outcomes.py",
    "bridge/pairing.py",
    "bridge/partpay/answers.py",
    "bridge/partpay/api.py",
    "bridge/partpay/callback.py",
    "bridge/partpay/evidence.py",
    "bridge/partpay/fields.py",
    "bridge/refund.py",
    "bridge/reversal.py",
    "bridge/sale.py",
    "bridge/stored_form.py",
    "bridge/switchboard.py",
    "bridge/tender.py",
)
"""What decides, translates or draws: data and the time come in as arguments, values go out."""

OUTSIDE = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "logging", "mmap"),
    *("multiprocessing", "os", "pathlib", "queue", "random", "requests", "secrets", "select"),
    *("selectors", "serial", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess"),
    *("sys", "tempfile", "termios", "threading", "time", "urllib", "usb", "uuid", "waitress"),
    *("requests_oauthlib", "oauthlib", "falcon", "escpos", "prometheus_client"),
}
"""Modules of the library and of others that touch the world, a clock, randomness or a thread."""

ALLOWED = {
    ("bridge/effects.py", "concurrent"): "a waiting caller's Future is named, never waited for",
    ("bridge/events.py", "concurrent"): "a waiting caller's Future is named, never waited for",
    ("bridge/engine.py", "logging"): "each step is a log line; what it says decides nothing",
    ("bridge/engine.py", "sqlite3"): "to catch the errors of the journal that was passed in",
    (
        "bridge/engine.py",
        "secrets",
    ): "the default of World.random8; tests and simulation pass theirs",
    ("bridge/lane.py", "logging"): "a message that cannot be written is a fault of ours to report",
    ("bridge/partpay/callback.py", "urllib"): "unquote_to_bytes, which is pure",
}
"""(module, what it imports) -> why it may."""

ALLOWED_OF_OURS = {
    ("bridge/book.py", "bridge.registry"): "the value Pairing; nothing of the file behind it",
    ("bridge/engine.py", "bridge.registry"): "the values Pairing and Snapshot",
    ("bridge/engine.py", "bridge.journal.archive"): "the type; the journal does the work",
    ("bridge/engine.py", "bridge.journal.journal"): "the type; World gives the object",
    (
        "bridge/lane.py",
        "drivers.profiles",
    ): "the value Profile; reading files is in functions beside",
}
"""(pure module, module of ours that is not) -> why it may know it."""

CLOCKS_AND_CHANCE = {"time", "random", "secrets", "uuid"}

MAY_ASK = {
    ("bridge/daemon.py", "time"): "waits for the last replies at a stop",
    ("bridge/engine.py", "secrets"): "eight hex digits that make a reference new",
    ("bridge/http_server.py", "time"): "limits on slow callers, by a clock that nobody sets",
    ("bridge/journal/journal.py", "secrets"): "a new journal's identity (DF0D)",
    ("bridge/lanes.py", "secrets"): "session nonces of the authenticated link",
    ("bridge/pairing_desk.py", "secrets"): "fresh keys for each dialogue, and its name",
    ("bridge/log.py", "time"): "how long one finding stays quiet",
    ("bridge/partpay/orders.py", "time"): "total deadlines of calls",
    ("bridge/partpay/tokens.py", "time"): "when a token ends; the default of an argument",
    ("bridge/partpay/transport.py", "time"): "total deadlines of calls",
    ("bridge/doctor/partpay.py", "uuid"): "the id of an order that cannot exist",
    ("bridge/probe.py", "secrets"): "a question that nobody else can have asked",
    ("bridge/technician.py", "secrets"): "session nonces of the authenticated link",
    ("bridge/state_dir.py", "time"): "waits a moment for a command to let the lock go",
    (
        "drivers/display/escpos_connection.py",
        "time",
    ): "limits on a printer that does not take bytes",
    ("drivers/line/loop.py", "time"): "the one clock of all deadlines: CLOCK_BOOTTIME",
}
"""(module, clock or source of randomness) -> why it asks by itself instead of being told. Not `bridge/cli/`: a
command waits for people and for the daemon, and remembers nothing."""


def modules(*patterns: str) -> list[str]:
    return sorted(
        str(file.relative_to(TOP))
        for pattern in patterns
        for file in TOP.glob(pattern)
        if file.is_file()
    )


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((TOP / module).read_text(encoding="utf-8"), module)


@cache
def imported(module: str) -> frozenset[str]:
    """Every module that this one imports, wherever in it, but for its type checker alone."""
    found = set()
    for node in _but_for_types(tree(module)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide which room is meant"
            found.add(node.module or "")
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return frozenset(found)


def _but_for_types(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _but_for_types(other)
            continue
        yield child
        yield from _but_for_types(child)


def roots(module: str) -> set[str]:
    return {name.partition(".")[0] for name in imported(module)}


def files_of_ours(module: str) -> set[str]:
    """The modules of ours that it imports, as files."""
    found = set()
    for name in imported(module):
        base = name.replace(".", "/")
        for file in (f"{base}.py", f"{base}/__init__.py"):
            if name.partition(".")[0] in ROOMS and (TOP / file).is_file():
                found.add(file)
    return found


def name_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("room", MAY_KNOW)
def test_knowledge_goes_one_way(room: str) -> None:
    for module in modules(f"{room}/**/*.py"):
        above = (roots(module) & ROOMS) - MAY_KNOW[room]
        upward = {name for name in above if (module, name) not in MAY_LOOK_UP}
        assert not upward, f"{module} imports {', '.join(sorted(upward))}"


def test_what_is_listed_as_pure_is_there() -> None:
    for pattern in PURE:
        assert modules(pattern), f"{pattern} names no module"


@pytest.mark.parametrize("module", modules(*PURE))
def test_a_pure_module_asks_nothing_of_the_world(module: str) -> None:
    used = roots(module) & OUTSIDE
    wrong = {name for name in used if (module, name) not in ALLOWED}
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}; pass in what it needs"


@pytest.mark.parametrize("module", modules(*PURE))
def test_a_pure_module_knows_only_pure_ones(module: str) -> None:
    pure = set(modules(*PURE, "bridge/**/__init__.py", "drivers/**/__init__.py"))
    others = {name_of(file) for file in files_of_ours(module) - pure}
    wrong = {name for name in others if (module, name) not in ALLOWED_OF_OURS}
    assert not wrong, f"{module} knows {', '.join(sorted(wrong))}, which is not pure"


@pytest.mark.parametrize("module", modules(*PURE))
def test_a_pure_module_opens_no_file_and_looks_at_no_clock(module: str) -> None:
    for node in ast.walk(tree(module)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        assert called not in ("open", "print", "input", "exec", "eval"), f"{module}: {called}"
        assert last not in ("now", "today", "utcnow", "urandom") or called.startswith(
            ("world.", "self._world.", "c.")
        ), f"{module} line {node.lineno}: {called} is a clock of its own"


@pytest.mark.parametrize(
    "module",
    sorted({*modules("bridge/**/*.py", "drivers/**/*.py")} - {*modules("bridge/cli/*.py")}),
)
def test_who_asks_a_clock_or_chance_says_why(module: str) -> None:
    used = roots(module) & CLOCKS_AND_CHANCE
    wrong = {name for name in used if (module, name) not in MAY_ASK}
    assert not wrong, f"{module} imports {', '.join(sorted(wrong))}: take it as an argument"


def test_no_exception_has_outlived_its_reason() -> None:
    for (module, name), why in {**ALLOWED, **MAY_ASK, **MAY_LOOK_UP}.items():
        assert name in roots(module), f"{module} no longer imports {name} ({why})"
    for (module, name), why in ALLOWED_OF_OURS.items():
        known = {name_of(file) for file in files_of_ours(module)}
        assert name in known, f"{module} no longer knows {name} ({why})"


@pytest.mark.parametrize("module", modules("bridge/**/*.py", "drivers/**/*.py"))
def test_no_fraction_comes_near_an_amount(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = (node.left, node.right)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("float", "round"):
            parts = tuple(node.args)
        else:
            continue
        text = " ".join(ast.unparse(part) for part in parts)
        assert "amount" not in text, f"{module} line {node.lineno}: cents are whole numbers"

"""CONTRIBUTING.md: its example package is installed and used, its tables are those of the project."""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.display import beside, raster
from drivers.display.geometry import Panel
from drivers.display.qr import draw
from drivers.line.line import Trouble, line_maker
from drivers.line.loop import Loop
from drivers.link import dialect
from drivers.link.framing import Ack, Bad, Frame, Nak
from drivers.link.messages import Ping
from drivers.link.session import Delivered, Received, Session
from tests.docs.page import TOP, Page
from tests.drivers.link.link_examples import LINK

PAGE = Page("CONTRIBUTING.md")
WAIT_S = 10.0


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's package, installed beside the project for one test."""
    for block in PAGE.blocks("python"):
        file = tmp_path / block.words[1]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text)
    (tmp_path / "acme" / "__init__.py").touch()
    (project,) = PAGE.blocks("toml")
    groups = tomllib.loads(project.text)["project"]["entry-points"]
    about = tmp_path / "acme-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in groups.items()
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    raster.image_formats.cache_clear()
    yield
    raster.image_formats.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


@pytest.mark.usefixtures("acme")
def test_the_image_format_is_drawn_and_read_back() -> None:
    assert raster.image_formats().problems == ()
    (made,) = draw("https://pay.test/q/1", Panel(128, 64), b"\x41")
    assert isinstance(made, raster.Picture)
    assert (made.format, made.width, made.height, len(made.data)) == (0x41, 128, 64, 128 * 8)


@pytest.mark.usefixtures("acme")
def test_the_dialect_carries_every_message_of_the_vectors() -> None:
    named = dialect.dialect_named("acme")
    assert dialect.framing_named("counted") is named.framing
    decoder = named.framing.decoder(4092)
    for vector in LINK["messages"]:
        body = bytes.fromhex(vector["native"]["body"])
        frame = named.framing.encode(body)
        assert decoder.feed(frame[:2]) == []
        assert decoder.inside
        assert decoder.feed(frame[2:]) == [Frame(body)]
        damaged = frame[:-1] + bytes((frame[-1] ^ 1,))
        assert decoder.feed(damaged + b"\x06\x15") == [Bad(), Ack(), Nak()]


@pytest.mark.usefixtures("acme")
def test_two_ends_speak_over_the_framing() -> None:
    one, other = (Session(dialect.dialect_named("acme")) for _ in range(2))
    one.send(Ping())
    heard = other.receive(one.take_output(0.0), 0.0)
    assert [event.message for event in heard if isinstance(event, Received)] == [Ping()]
    one.written(0.0)
    assert Delivered(Ping()) in one.receive(other.take_output(0.0), 0.0)


class Listening:
    """Uses a line: says something once it is open, and keeps what comes."""

    name = "echo:test"

    def __init__(self) -> None:
        self.line = None
        self.heard = b""
        self.done = threading.Event()

    def opened(self, now: float) -> None:
        assert self.line is not None
        self.line.write(b"kia ora")

    def received(self, data: bytes, now: float) -> None:
        self.heard += data
        self.done.set()

    def written(self, now: float) -> None: ...

    def lost(self, trouble: Trouble, now: float) -> None: ...

    def unavailable(self, trouble: Trouble, now: float) -> None: ...

    def failed(self, error: Exception) -> None:
        raise error


@pytest.mark.usefixtures("acme")
def test_the_line_is_found_by_its_port_and_driven_by_the_loop() -> None:
    with Loop() as loop:
        user = Listening()
        user.line = line_maker("echo:test")(loop, "echo:test", user, baud=9600)
        turning = threading.Thread(target=loop.run)
        turning.start()
        loop.call(user.line.start, user)
        assert user.done.wait(WAIT_S)
        loop.stop()
        turning.join(WAIT_S)
    assert user.heard == b"kia ora"


@pytest.mark.usefixtures("acme")
def test_the_display_is_found_by_its_name(tmp_path: Path) -> None:
    panel = tmp_path / "panel"
    display = beside.display_named(f"file:{panel}")
    assert isinstance(display.show_lines(["125.50 NZD", "APPROVED"]), beside.Shown)
    assert panel.read_text() == "125.50 NZD\nAPPROVED"
    assert isinstance(display.show_code("x", []), beside.NotShown)
    with pytest.raises(beside.DisplayConfigError, match="whole path"):
        beside.display_named("file:panel")


def test_the_groups_are_those_of_the_code() -> None:
    told = set(re.findall(r"`(partpay_bridge\.\w+)`", PAGE.text))
    source = "".join(file.read_text(encoding="utf-8") for file in TOP.glob("drivers/**/*.py"))
    assert told == set(re.findall(r'"(partpay_bridge\.\w+)"', source))


def test_tables_of_names_are_where_the_page_says() -> None:
    rows = re.findall(
        r"^\| [^|]+ \| `partpay_bridge\.\w+` \|[^|]+\| `(.+?)` \| `(\w+)` \|$", PAGE.text, re.M
    )
    assert len(rows) == 6
    for contract, table in rows:
        module = contract.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        holder = dialect if table in ("FRAMINGS", "ENCODINGS") else importlib.import_module(module)
        assert getattr(holder, table)


def test_each_library_has_its_reason() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[><=\[ ]", wanted)[0] for wanted in project["dependencies"]}
    assert {name for name, *_ in PAGE.rows("libraries")} == named
    for wanted in project["optional-dependencies"]["dev"]:
        name = re.split(r"[><=\[ ]", wanted)[0]
        assert name.startswith("types-") or name in PAGE.text, name


def test_what_is_named_is_there() -> None:
    for name in re.findall(r"`((?:bridge|drivers|tests|tools|config|docs)/[\w/.]*)`", PAGE.text):
        assert (TOP / name).exists(), name
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.text):
        assert (TOP / target).exists(), target
    for module in re.findall(r"python -m (tools\.[\w.]+)", PAGE.text):
        assert importlib.util.find_spec(module) is not None, module

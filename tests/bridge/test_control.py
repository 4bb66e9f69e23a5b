"""The handler, and the same questions over a real socket."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge import control_socket
from bridge.control import (
    BY_NAME,
    Acknowledge,
    AddMerchant,
    AddTerminal,
    Answer,
    CommandError,
    ExplainTender,
    Export,
    Facts,
    ForgetKeys,
    Handler,
    ImportMerchants,
    ListAttention,
    ListMerchants,
    ListTenders,
    ListTerminals,
    Pair,
    RemoveMerchant,
    RemoveTerminal,
    Request,
    Rows,
    SetMerchant,
    SetTerminal,
    ShowMerchant,
    ShowTender,
    ShowTerminal,
    Status,
    Totals,
)
from bridge.control_socket import (
    CannotServeError,
    ControlServer,
    NoDaemonError,
    ask,
    decode,
    encode,
    this_user,
    user_name,
)
from bridge.log import Log
from bridge.registry import Merchant, Pairing, Registry, Who
from drivers.link.authentication import Keys

ALICE = Who("alice", 1000)
SHOES = Merchant("m-1", "Shoes")
T1 = Pairing(0, "T1", "S1", "/dev/ttyUSB0", merchants=("m-1",))
TIMEOUT_S = 20.0


def tender(terminal: str, counter: int) -> dict[str, Any]:
    return {
        "terminal": terminal,
        "counter": counter,
        "pairing": 1,
        "gateway_reference": f"AKL01-{terminal}-{counter}-1-0a0b0c0d",
    }


class FakeReader:
    def __init__(self) -> None:
        self.known = [tender("T1", 7), tender("T2", 7), tender("T1", 8)]
        self.waiting = [{"entry": 3, "text": "look"}, {"entry": 4, "text": "look again"}]
        self.asked: list[dict[str, Any]] = []

    def tenders(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked.append(asked)
        return self.known

    def find(self, key: str) -> list[dict[str, Any]]:
        return [one for one in self.known if key in (str(one["counter"]), one["gateway_reference"])]

    def events(self, pairing: int, counter: int) -> list[dict[str, Any]]:
        return [{"seq": 1, "name": "accepted", "counter": counter}]

    def attention(self) -> list[dict[str, Any]]:
        return self.waiting

    def totals(self, first_day: str | None, last_day: str | None) -> list[dict[str, Any]]:
        return [{"day": first_day, "merchant": "m-1"}]

    def export(self, first_day: str, last_day: str) -> Iterator[dict[str, Any]]:
        yield from ({"number": number} for number in range(1000))
        if last_day == "broken":
            raise OSError("disk")


class FakeDesk:
    def __init__(self) -> None:
        self.done: list[tuple[int | None, str]] = []

    def acknowledge(self, entry: int | None, who: str) -> int:
        self.done.append((entry, who))
        return 2 if entry is None else 1


class FakeInquiry:
    def explain(self, pairing: int, counter: int) -> Mapping[str, Any]:
        return {"money": "taken", "pairing": pairing, "counter": counter}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(
        tmp_path / "registry.db",
        "sandbox",
        dialects=("native", "classic"),
        now=lambda: datetime(2024, 5, 6, tzinfo=UTC),
        environ={},
    ) as registry:
        yield registry


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def handler(registry: Registry, reader: FakeReader, desk: FakeDesk) -> Handler:
    return Handler(
        registry,
        lambda: reader,
        desk,
        status=lambda: {"status": "ok"},
        inquiry=FakeInquiry(),
    )


@pytest.fixture(params=["handler", "socket"])
def asked(
    request: pytest.FixtureRequest, handler: Handler, tmp_path: Path
) -> Iterator[Callable[[Request], Any]]:
    """The same question to the handler itself, and over the socket."""

    def value(answer: Answer) -> Any:
        return answer.value if isinstance(answer, Facts) else [dict(row) for row in answer.rows]

    if request.param == "handler":
        yield lambda question: value(handler(question, ALICE))
        return
    with serving(tmp_path / "control.sock", handler) as path:
        yield lambda question: value(ask(path, question, ALICE, patience_s=TIMEOUT_S))


class Nothing:
    def __init__(self) -> None:
        self.events: list[str] = []

    def write(self, at: datetime, level: int, event: str, fields: Mapping[str, str]) -> None:
        self.events.append(event)


class serving:  # noqa: N801 (reads as a sentence in a with statement)
    def __init__(self, path: Path, handler: Callable[[Request, Who], Answer]) -> None:
        self.path = path
        self.sink = Nothing()
        self.server = ControlServer(path, handler, Log(self.sink))

    def __enter__(self) -> Path:
        self.server.start()
        return self.path

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def refusal(ask_it: Callable[[], Any]) -> CommandError:
    with pytest.raises(CommandError) as caught:
        ask_it()
    return caught.value


# -- the handler, both ways


def test_merchants(asked: Callable[[Request], Any]) -> None:
    assert asked(ListMerchants()) == []
    added = asked(AddMerchant(SHOES))
    assert added == {
        "id": "m-1",
        "name": "Shoes",
        "client_id": None,
        "client_secret_file": None,
        "callback_key_file": None,
        "removed": False,
    }
    assert asked(SetMerchant("m-1", name="Boots"))["name"] == "Boots"
    assert asked(SetMerchant("m-1", client_id=""))["client_id"] is None
    shown = asked(ShowMerchant("m-1"))
    assert [change["action"] for change in shown["changes"]] == ["add", "set"]
    assert shown["changes"][1]["who"] == "alice"
    imported = asked(ImportMerchants((Merchant("m-1", "Boots"), Merchant("m-2", "Hats"))))
    assert imported == {"added": ["m-2"], "changed": [], "unchanged": ["m-1"]}
    asked(AddTerminal(T1))
    assert asked(RemoveMerchant("m-1"))["terminals"] == ["T1"]
    assert [one["id"] for one in asked(ListMerchants())] == ["m-2"]
    assert [one["id"] for one in asked(ListMerchants(removed=True))] == ["m-1", "m-2"]


def test_terminals(asked: Callable[[Request], Any]) -> None:
    asked(AddMerchant(SHOES))
    assert asked(AddTerminal(T1)) == {
        "terminal": "T1",
        "serial": "S1",
        "port": "/dev/ttyUSB0",
        "dialect": "native",
        "baud": 115_200,
        "merchants": ["m-1"],
        "profile": None,
        "display": None,
        "name": None,
        "keyed": False,
        "removed": False,
        "pairing": 1,
    }
    assert asked(SetTerminal("T1", baud=9600, dialect="classic"))["baud"] == 9600
    assert asked(ShowTerminal("T1/S1"))["changes"][-1]["became"]["dialect"] == "classic"
    assert asked(RemoveTerminal("T1"))["removed"]
    assert asked(ListTerminals()) == []
    assert len(asked(ListTerminals(removed=True))) == 1


@pytest.mark.parametrize(
    ("question", "exit_status", "what"),
    [
        (ShowMerchant("m-9"), 2, "no merchant m-9"),
        (SetMerchant("m-1", name=""), 2, "name has 0"),
        (AddMerchant(SHOES), 1, "already there"),
        (AddMerchant(Merchant("m 2", "x")), 2, "other characters"),
        (ShowTerminal("T9"), 2, "no terminal T9"),
        (
            AddTerminal(Pairing(0, "T1", "S1", "/dev/x", "klingon", merchants=("m-1",))),
            2,
            "klingon",
        ),
        (AddTerminal(Pairing(0, "T1", "S1", "odd:x", merchants=("m-1",))), 2, "odd"),
        (AddTerminal(Pairing(0, "T1", "S1", "usb:1fc9", merchants=("m-1",))), 2, "usb:1fc9"),
        (
            AddTerminal(Pairing(0, "T1", "S1", "/dev/x", merchants=("m-1",), profile="none such")),
            2,
            "none such",
        ),
        (
            AddTerminal(Pairing(0, "T1", "S1", "/dev/x", merchants=("m-1",), display="escpos:x")),
            2,
            "tcp:HOST:PORT",
        ),
        (
            AddTerminal(
                Pairing(
                    0, "T1", "S1", "/dev/x", merchants=("m-1",), display="escpos:tcp:h?profile=None"
                )
            ),
            2,
            "no such profile",
        ),
        (ShowTender("99"), 2, "nothing is known by 99"),
        (ShowTender("7"), 2, r"2 match 7"),
        (Acknowledge(99), 2, "no entry 99"),
        (ForgetKeys("T9"), 2, "no terminal T9"),
        (Pair("/dev/x"), 1, "no terminal can be paired here"),
    ],
)
def test_what_is_refused(
    asked: Callable[[Request], Any], question: Request, exit_status: int, what: str
) -> None:
    asked(AddMerchant(SHOES))
    error = refusal(lambda: asked(question))
    assert error.exit_status == exit_status
    assert what in error.what
    assert error.remedy


def test_several_matches_are_listed(asked: Callable[[Request], Any]) -> None:
    assert "T1/7 (AKL01-T1-7-1-0a0b0c0d), T2/7 (" in refusal(lambda: asked(ShowTender("7"))).remedy


def test_keys_are_counted_and_forgotten_and_never_told(
    asked: Callable[[Request], Any], registry: Registry
) -> None:
    asked(AddMerchant(SHOES))
    asked(AddTerminal(T1))
    keys = Keys(b"\x5a" * 32, b"\xa5" * 32)
    registry.keep_keys("T1", "S1", keys, ALICE)
    assert [one["keyed"] for one in asked(ListTerminals())] == [True]
    shown = asked(ShowTerminal("T1"))
    assert [one["action"] for one in shown["changes"]] == ["add", "pair"]
    assert shown["changes"][1]["became"] == {"key_sets": 1}
    for secret in (keys.to_bridge, keys.to_terminal):
        assert secret.hex() not in json.dumps(shown)
    assert asked(ForgetKeys("T1")) == {"terminal": "T1", "serial": "S1", "keyed": False}
    assert asked(ShowTerminal("T1"))["keyed"] is False
    assert asked(SetTerminal("T1", name="Till 2"))["name"] == "Till 2"
    assert asked(SetTerminal("T1", name=""))["name"] is None


def test_tenders(asked: Callable[[Request], Any], reader: FakeReader, desk: FakeDesk) -> None:
    assert len(asked(ListTenders(terminal="T1", limit=5))) == 3
    assert reader.asked == [
        {"open_only": False, "terminal": "T1", "first_day": None, "last_day": None, "limit": 5}
    ]
    assert asked(ShowTender("8"))["events"] == [{"seq": 1, "name": "accepted", "counter": 8}]
    assert asked(ExplainTender("8"))["money"] == "taken"
    assert [one["entry"] for one in asked(ListAttention())] == [3, 4]
    assert asked(Acknowledge(3)) == {"acknowledged": 1}
    assert asked(Acknowledge(None)) == {"acknowledged": 2}
    assert desk.done == [(3, "alice"), (None, "alice")]
    assert asked(Totals("2024-05-01")) == [{"day": "2024-05-01", "merchant": "m-1"}]
    assert asked(Export("2024-05-01", "2024-05-02")) == [{"number": n} for n in range(1000)]


def test_status(asked: Callable[[Request], Any]) -> None:
    assert asked(Status()) == {"status": "ok"}


def test_without_a_daemon_there_is_no_status(registry: Registry, desk: FakeDesk) -> None:
    handler = Handler(registry, FakeReader, desk, inquiry=FakeInquiry())
    assert refusal(lambda: handler(Status(), ALICE)).exit_status == 1


# -- the codec


@pytest.mark.parametrize("kind", BY_NAME.values())
def test_every_request_survives_the_line(kind: type[Request]) -> None:
    examples: dict[str, Any] = {
        "merchant": SHOES,
        "merchants": (SHOES,) if kind is ImportMerchants else ("m-1", "m-2"),
        "terminal": "T1" if kind is ListTenders else T1,
        "entry": 3,
        "number": 3,
        "answer": ("yes",),
        "baud": 9600,
        "limit": 5,
    }
    names = kind.__dataclass_fields__
    request = kind(
        **{name: examples.get(name, names[name].type is bool or "text") for name in names}
    )
    assert decode(encode(request, ALICE)) == (request, ALICE)
    assert encode(request, ALICE).count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"request": "Dance", "who": {"name": "a", "uid": 1}, "with": {}}',
        b'{"request": "Status", "who": {"name": "a"}, "with": {}}',
        b'{"request": "Status", "who": {"name": "a", "uid": "1"}, "with": {}}',
        b'{"request": "ShowTender", "who": {"name": "a", "uid": 1}, "with": {"key": 7}}',
        b'{"request": "ShowTender", "who": {"name": "a", "uid": 1}, "with": {"k": "7"}}',
        b'{"request": "ImportMerchants", "who": {"name": "a", "uid": 1}, "with": {"merchants": 1}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(line: bytes) -> None:
    error = refusal(lambda: decode(line))
    assert (error.exit_status, "restart the daemon" in error.remedy) == (1, True)


# -- the socket


def test_only_its_owner_can_connect(tmp_path: Path, handler: Handler) -> None:
    with serving(tmp_path / "run" / "control.sock", handler) as path:
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


def test_nobody_there(tmp_path: Path, handler: Handler) -> None:
    path = tmp_path / "control.sock"
    with pytest.raises(NoDaemonError):
        ask(path, Status(), ALICE)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with pytest.raises(NoDaemonError):
        ask(path, Status(), ALICE)
    with serving(path, handler):
        assert ask(path, Status(), ALICE) == Facts({"status": "ok"})


def test_a_path_that_is_taken(tmp_path: Path, handler: Handler) -> None:
    with serving(tmp_path / "control.sock", handler) as path:
        with pytest.raises(CannotServeError, match="another daemon's"):
            serving(path, handler)
        assert ask(path, Status(), ALICE)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CannotServeError, match="is no socket"):
        serving(tmp_path / "file", handler)
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(CannotServeError, match="cannot be had"):
        serving(tmp_path / "file" / "control.sock", handler)


def test_who_is_asked_of_the_kernel_where_it_is_not_our_user(
    tmp_path: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Who] = []

    def noticing(request: Request, who: Who) -> Answer:
        seen.append(who)
        return Facts({})

    with serving(tmp_path / "control.sock", noticing) as path:
        ask(path, Status(), ALICE)
        monkeypatch.setattr(control_socket.os, "geteuid", lambda: 4711)
        monkeypatch.setattr(control_socket.struct, "unpack", lambda form, raw: (1, 65534, 1))
        ask(path, Status(), ALICE)
    assert seen == [ALICE, Who(user_name(65534), 65534)]


def test_rows_that_break_in_the_middle_say_so(tmp_path: Path, handler: Handler) -> None:
    def breaking(request: Request, who: Who) -> Answer:
        def rows() -> Iterator[Mapping[str, Any]]:
            yield {"number": 1}
            raise ValueError("the journal broke")

        return Rows(rows())

    with serving(tmp_path / "control.sock", breaking) as path:
        error = refusal(lambda: ask(path, ListTenders(), ALICE))
    assert "the journal broke" in error.what


def test_a_handler_that_breaks_is_answered_and_logged(tmp_path: Path) -> None:
    def broken(request: Request, who: Who) -> Answer:
        raise RuntimeError("oops")

    served = serving(tmp_path / "control.sock", broken)
    with served as path:
        error = refusal(lambda: ask(path, Status(), ALICE))
    assert (error.exit_status, "oops" in error.what) == (1, True)
    assert served.sink.events == ["command-broke"]


def test_a_request_that_is_too_large_or_cut_off(
    tmp_path: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "REQUEST_MAX_BYTES", 100)
    with serving(tmp_path / "control.sock", handler) as path:
        for said in (b"x" * 101, b"{"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.connect(str(path))
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                answer = json.loads(connection.makefile().readline())
            assert "cut off or too large" in answer["refused"]["what"]


def test_commands_that_hang_hold_up_no_other(
    tmp_path: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE_S", 0.05)
    with serving(tmp_path / "control.sock", handler) as path:
        hanging = socket.socket(socket.AF_UNIX)
        with hanging:
            hanging.settimeout(TIMEOUT_S)
            hanging.connect(str(path))
            assert ask(path, Status(), ALICE) == Facts({"status": "ok"})
            assert hanging.recv(10) == b""


def test_there_are_only_so_many_at_once_and_the_others_wait(
    tmp_path: Path, handler: Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "CONNECTIONS_MAX", 1)
    inside, release = threading.Event(), threading.Event()
    present, most = 0, 0

    def waiting(request: Request, who: Who) -> Answer:
        nonlocal present, most
        present += 1
        most = max(most, present)
        inside.set()
        release.wait(TIMEOUT_S)
        present -= 1
        return Facts({})

    with serving(tmp_path / "control.sock", waiting) as path:
        first = threading.Thread(target=ask, args=(path, Status(), ALICE))
        first.start()
        assert inside.wait(TIMEOUT_S)
        second = threading.Thread(target=ask, args=(path, Status(), ALICE))
        second.start()
        release.set()
        first.join(TIMEOUT_S)
        second.join(TIMEOUT_S)
        assert not first.is_alive()
        assert not second.is_alive()
        assert most == 1


def test_a_daemon_that_ends_in_the_middle_is_said(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(path))
        daemon.listen()

        def half() -> None:
            connection, _ = daemon.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b'{"row": {}}\n')

        thread = threading.Thread(target=half)
        thread.start()
        answer = ask(path, ListTenders(), ALICE)
        assert isinstance(answer, Rows)
        assert "in the middle" in refusal(lambda: list(answer.rows)).what
        thread.join(TIMEOUT_S)


def test_the_person_at_the_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket.Path, "read_text", lambda self: "65534")
    assert this_user({}) == Who(user_name(65534), 65534)
    monkeypatch.setattr(control_socket.Path, "read_text", lambda self: "4294967295")
    monkeypatch.setattr(control_socket.os, "getuid", lambda: 0)
    assert this_user({"SUDO_UID": "65534"}).uid == 65534
    assert this_user({}) == Who(user_name(0), 0)
    assert user_name(4_000_000_000) == "4000000000"

"""Where a person pairs a terminal: one dialogue of `pairing.py` at a time, on a line of `lanes.py`, for one command.

- The dialogue lives as long as somebody reads its rows: whoever goes away ends it, on the line, too. A row comes at
  least every second, so that a reader who has gone is noticed.
- What blocks (the registry, looking for a terminal's dialect) is done in workers; the line's thread never waits.
- Where the daemon runs, its own lane of that port is used; where none does, the command's own (`alone.py`). This
  file does not know which.
"""

import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypedDict

from bridge.control import CommandError, Pair, PairAnswer, PairCancel
from bridge.display_test import TEST_PAYLOAD
from bridge.events import Event, TechnicianAt
from bridge.lane import Lane, PairingMessage
from bridge.lane_events import Heard, LaneEvent, LineDown, Proved, UnknownKeys
from bridge.lanes import AlreadyLentError, Lanes, LaneSetting
from bridge.pairing import (
    ASKS,
    AskWho,
    ClearTest,
    Dialogue,
    KeepKeys,
    Known,
    RefusePairing,
    Register,
    Say,
    SetName,
    ShowTest,
    Step,
    View,
    Want,
    Wishes,
    WrongAnswerError,
)
from bridge.registry import DEFAULT_BAUD, Pairing, Registry, Snapshot, Who
from drivers.asking import Answer, Setting, Silence, ask, settings_for
from drivers.discovery import Inventory, inventory, stable_name
from drivers.line.line import Trouble, TroubleKind, line_maker
from drivers.line.loop import boottime
from drivers.line.usb_port import PREFIX as USB
from drivers.link.authentication import Keys
from drivers.link.dialect import DIALECTS, BrokenPlugIn, UnknownName, dialect_named
from drivers.link.messages import Hello
from drivers.link.pairing import PAIRING_NONCE_BYTES, PRIVATE_KEY_BYTES, Share
from drivers.profiles import profile_named

log = logging.getLogger(__name__)

ROW_EVERY_S: Final = 1.0
"""A row at least this often: by it a reader who has gone is noticed."""
FIND_WAIT_S: Final = 120.0
"""How long a terminal is looked for on a port that nobody has said the dialect of."""
FIND_PAUSE_S: Final = 1.0
QUIET_WAIT_S: Final = 2.0
"""How long what was said last (REFUSED 9, once a second) may take to leave, before the port is given back."""
QUIET_LOOK_S: Final = 0.02

Ask = Callable[..., Answer | Silence | Trouble]


class TerminalFacts(TypedDict):
    """A terminal that has said HELLO, and how it is spoken with. panel: "width" and "height" in pixels."""

    terminal: str
    serial: str
    model: str
    firmware: str
    panel: dict[str, int]
    can_authenticate: bool
    port: str
    dialect: str
    baud: int


class PairedFacts(TerminalFacts):
    """What `pair --json` tells. picture_shown: what the terminal said of the test picture, picture_scanned: what the
    person did; None: nothing.
    """

    pairing: int | None
    authenticated: bool
    merchants: list[str]
    name: str | None
    picture_shown: bool | None
    picture_scanned: bool | None


def _fresh_share() -> Share:
    return Share(secrets.token_bytes(PRIVATE_KEY_BYTES), secrets.token_bytes(PAIRING_NONCE_BYTES))


class PairingDesk:
    """Any thread may call any method.

    `in_worker` has what blocks done; `post` gets events for the engine; `busy(terminal_id)`: it has a sale open.
    `present` and `ask` look at the machine: `drivers.discovery` and `drivers.asking`. `share`: fresh keys each time.
    """

    def __init__(
        self,
        lanes: Lanes,
        registry: Registry,
        in_worker: Callable[[Callable[[], None]], object],
        post: Callable[[Event], object] = lambda event: None,
        busy: Callable[[str], bool] = lambda terminal_id: False,
        *,
        present: Callable[[], Inventory] = inventory,
        ask: Ask = ask,
        share: Callable[[], Share] = _fresh_share,
        now: Callable[[], float] = boottime,
    ) -> None:
        self.lanes = lanes
        self.registry = registry
        self.in_worker = in_worker
        self.post = post
        self.busy = busy
        self.present = present
        self.ask = ask
        self.share = share
        self.now = now
        self._lock = threading.Lock()
        self._talk: _Talk | None = None

    def rows(self, request: Pair, who: Who) -> Iterator[Mapping[str, Any]]:
        """The dialogue, row by row; closing it breaks the dialogue off. Raises CommandError at the first row."""
        talk = _Talk(self, request, who)
        with self._lock:
            if self._talk is not None:
                raise CommandError(
                    1,
                    f"{self._talk.who.name} is pairing on {self._talk.port or 'a port'} just now",
                    "wait until that is done",
                )
            self._talk = talk
        try:
            yield from talk.rows()
        finally:
            try:
                talk.close()
            finally:
                with self._lock:
                    self._talk = None

    def answer(self, request: PairAnswer) -> None:
        """Raises CommandError where it answers nothing that is asked."""
        self._find(request.dialogue).answer(request.number, request.answer)

    def cancel(self, request: PairCancel) -> None:
        """Breaks the dialogue off; nothing where it is over."""
        try:
            self._find(request.dialogue).cancel("You broke it off.")
        except CommandError:
            return

    def _find(self, name: str) -> "_Talk":
        with self._lock:
            if self._talk is None or self._talk.name != name:
                raise CommandError(1, "that dialogue is over", "begin again: partpay-bridge pair")
            return self._talk


class _Talk:
    """One dialogue, its port, and its reader. What changes does so under `_changed`."""

    def __init__(self, desk: PairingDesk, request: Pair, who: Who) -> None:
        self.name = secrets.token_hex(8)
        self.who = who
        self.port = ""
        self._desk = desk
        self._request = request
        self._setting = LaneSetting("native", DEFAULT_BAUD)
        self._changed = threading.Condition()
        self._dialogue: Dialogue | None = None
        self._cancelled = ""
        self._lent = False
        self._found: LaneSetting | CommandError | None = None

    # -- rows ----------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[Mapping[str, Any]]:
        self._check()
        yield {"dialogue": self.name, "port": self.port}
        yield from self._look_for_setting()
        desk = self._desk
        self._dialogue = Dialogue(
            self.port, _wishes(self._request), self._known, desk.share, desk.now()
        )
        desk.post(TechnicianAt(self.port, here=True))
        self._borrow()
        told = 0
        while True:
            with self._changed:
                dialogue = self._dialogue
                if self._cancelled:
                    self._do(dialogue.cancel(self._cancelled, desk.now()))
                self._do(dialogue.wake(desk.now()))
                if dialogue.view.number == told:
                    self._changed.wait(self._patience(dialogue))
                view = dialogue.view
            if view.number == told:
                yield {"dialogue": self.name}
                continue
            told = view.number
            yield self._row(view)
            if view.over:
                return

    def _patience(self, dialogue: Dialogue) -> float:
        wake_at = dialogue.next_wake()
        left = ROW_EVERY_S if wake_at is None else wake_at - self._desk.now()
        return min(max(left, 0.0), ROW_EVERY_S)

    def _row(self, view: View) -> Mapping[str, Any]:
        merchants = self._desk.registry.snapshot.merchants.values()
        asks = view.step in ASKS
        return {
            "dialogue": self.name,
            "number": view.number,
            "step": view.step.value,
            "asks": asks,
            "text": view.text,
            "seconds_left": max(int(view.ends_at - self._desk.now()), 0),
            "digits": view.digits if view.step in (Step.COMPARING, Step.CONFIRMED) else None,
            "terminal": None if view.terminal is None else self._terminal(view),
            "merchants": list(view.merchants),
            "choices": [
                {"id": one.merchant_id, "name": one.name} for one in merchants if not one.retired
            ]
            if view.step is Step.MERCHANT
            else [],
            "paired": self._paired(view) if view.step is Step.DONE else None,
        }

    def _terminal(self, view: View) -> TerminalFacts:
        hello = view.terminal
        assert hello is not None
        return TerminalFacts(
            terminal=hello.terminal_id,
            serial=hello.serial_number,
            model=hello.model,
            firmware=hello.firmware,
            panel={"width": hello.panel_width, "height": hello.panel_height},
            can_authenticate=hello.can_authenticate == 1,
            port=self.port,
            dialect=self._setting.dialect,
            baud=self._setting.baud,
        )

    def _paired(self, view: View) -> PairedFacts:
        return PairedFacts(
            **self._terminal(view),
            pairing=view.pairing,
            authenticated=view.authenticated,
            merchants=list(view.merchants),
            name=view.name,
            picture_shown=view.shown,
            picture_scanned=view.scanned,
        )

    def answer(self, number: int, answer: tuple[str, ...]) -> None:
        with self._changed:
            if self._dialogue is None:
                raise CommandError(1, "nothing is asked yet", "wait for a question")
            try:
                self._do(self._dialogue.answer(number, answer, self._desk.now()))
            except WrongAnswerError as error:
                raise CommandError(2, str(error), "answer what is asked") from None

    def cancel(self, why: str) -> None:
        with self._changed:
            self._cancelled = self._cancelled or why
            self._changed.notify_all()

    def close(self) -> None:
        """Whoever read has gone, or has read all."""
        desk = self._desk
        with self._changed:
            self._cancelled = self._cancelled or "Whoever was pairing has gone."
            if self._dialogue is not None:
                self._do(self._dialogue.cancel(self._cancelled, desk.now()))
            self._changed.notify_all()
        if self._lent:
            self._wait_until_said()
            desk.lanes.give_back(self.port)
        if self._dialogue is not None:
            desk.post(TechnicianAt(self.port, here=False))
            self._log(self._dialogue.view)

    def _log(self, view: View) -> None:
        hello = view.terminal
        about: dict[str, Any] = {"port": self.port, "who": self.who.name}
        if hello is not None:
            about |= {"terminal": hello.terminal_id, "serial": hello.serial_number}
        if view.step is Step.DONE:
            about |= {"authenticated": view.authenticated, "pairing": view.pairing}
        event = "paired" if view.step is Step.DONE else "not-paired"
        log.info("%s", view.text, extra={"event": event, **about})

    def _wait_until_said(self) -> None:
        at = self._desk.lanes.by_port.get(self.port)
        if at is None:
            return
        begun, pause = threading.Event(), threading.Event()
        at.with_lane(lambda lane, now: begun.set())
        begun.wait(QUIET_WAIT_S)
        tries = int(QUIET_WAIT_S / QUIET_LOOK_S)
        while not at.lane.quiet and tries:
            pause.wait(QUIET_LOOK_S)
            tries -= 1

    # -- the port ------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Which port, and whether all that was said beforehand can be. Raises CommandError."""
        snapshot, request = self._desk.registry.snapshot, self._request
        if not snapshot.usable:
            raise CommandError(
                1, "no merchant is registered yet", "first: partpay-bridge merchants add"
            )
        for merchant in request.merchants:
            if merchant not in snapshot.usable:
                raise CommandError(
                    2, f"no merchant {merchant}", f"first: merchants add --id {merchant}"
                )
        try:
            profile = profile_named(request.profile)
            if request.dialect is not None:
                dialect_named(request.dialect)
        except (ValueError, UnknownName, BrokenPlugIn) as error:
            raise CommandError(2, str(error), "name one that is known") from None
        present = self._desk.present()
        self.port = self._port(request.port, snapshot, present)
        try:
            line_maker(self.port)
        except ValueError as error:
            raise CommandError(2, str(error), "name another port") from None
        baud = request.baud or profile.baud
        registered = next((one for one in snapshot.ports if one.port == self.port), None)
        if registered is not None:
            asked = (request.dialect or registered.dialect, request.baud or registered.baud)
            if asked != (registered.dialect, registered.baud):
                raise CommandError(
                    2,
                    f"port {self.port} is registered with {registered.dialect} at {registered.baud} baud",
                    "leave --dialect and --baud out, or change it: partpay-bridge terminals set",
                )
            self._found = LaneSetting(registered.dialect, registered.baud, request.profile)
        elif request.dialect is not None:
            self._found = LaneSetting(request.dialect, baud or DEFAULT_BAUD, request.profile)

    def _port(self, named: str | None, snapshot: Snapshot, present: Inventory) -> str:
        known = [one.port for one in snapshot.ports]
        if named is None:
            return self._only_port(known, snapshot, present)
        better = stable_name(named, present) or named
        same = (one for one in known if one in (named, better) or _same_device(one, better))
        return next(same, better)

    def _only_port(self, known: list[str], snapshot: Snapshot, present: Inventory) -> str:
        """The only port on which a terminal could be that is not paired."""
        lanes = self._desk.lanes.by_port
        strangers = [
            port
            for port, at in lanes.items()
            if at.lane.hello is not None and not _is_paired(at.lane.hello, snapshot)
        ]
        free = [
            device.port
            for device in present.devices
            if not any(port in device.names or _same_device(port, device.node) for port in known)
        ]
        found = list(dict.fromkeys([*strangers, *free]))
        if len(found) == 1:
            return found[0]
        if not found:
            raise CommandError(
                2,
                "nothing is plugged in that is not paired",
                "plug the terminal in, or name its port; see: partpay-bridge ports",
            )
        listed = ", ".join(found)
        raise CommandError(2, f"{len(found)} ports could be meant", f"name one of: {listed}")

    def _look_for_setting(self) -> Iterator[Mapping[str, Any]]:
        """Until it is known how the terminal speaks. Raises CommandError."""
        if self._found is None:
            text = f"Looking for a terminal on {self.port}: plug it in, switch it on."
            yield {"dialogue": self.name, "number": 0, "step": "looking", "text": text}
            self._desk.in_worker(self._find_setting)
        while True:
            with self._changed:
                if self._found is None:
                    self._changed.wait(ROW_EVERY_S)
                found = self._found
            match found:
                case LaneSetting():
                    self._setting = found
                    return
                case CommandError():
                    raise found
                case None:
                    yield {"dialogue": self.name}

    def _find_setting(self) -> None:
        request, desk = self._request, self._desk
        every = settings_for(usb=self.port.startswith(USB))
        if request.baud is not None:
            every = tuple(Setting(dialect, request.baud) for dialect in DIALECTS)
        ends, pause = desk.now() + FIND_WAIT_S, threading.Event()
        found: LaneSetting | CommandError | None = None
        while found is None and not self._cancelled:
            match desk.ask(self.port, every):
                case Answer(setting=setting):
                    found = LaneSetting(setting.dialect, setting.baud, request.profile)
                case Trouble(kind=TroubleKind.ABSENT | TroubleKind.BROKEN) as trouble:
                    pause.wait(FIND_PAUSE_S)
                    why, remedy = trouble.text, "plug it in, then begin again"
                case Trouble(text=text):
                    found = CommandError(1, text, "then begin again")
                case Silence():
                    why = f"no terminal answers on {self.port}, in any usual dialect and baud rate"
                    remedy = (
                        "see that it is on; where its settings are known, name --dialect and --baud"
                    )
            if found is None and desk.now() >= ends:
                found = CommandError(1, why, remedy)
        with self._changed:
            self._found = found or CommandError(1, "it was broken off", "")
            self._changed.notify_all()

    def _borrow(self) -> None:
        try:
            self._desk.lanes.borrow(self.port, self._setting, self)
        except (AlreadyLentError, ValueError, UnknownName, BrokenPlugIn) as error:
            raise CommandError(1, str(error), "name another port") from None
        self._lent = True
        # Whoever is there already has said HELLO before anybody listened.
        self._desk.lanes.identify(self.port)

    # -- Borrower ------------------------------------------------------------------------------------------------

    def said(self, message: PairingMessage, sequence: int, now: float) -> None:
        """See `Borrower`."""
        self._happened(lambda dialogue: dialogue.said(message, sequence, now))

    def told(self, event: LaneEvent) -> None:
        """See `Borrower`."""
        now = self._desk.now()
        match event:
            case Heard(message=Hello() as hello) | UnknownKeys(hello=hello):
                self._happened(lambda dialogue: dialogue.hello(hello, now))
            case Proved() | Heard(key_id=bytes()):
                self._happened(lambda dialogue: dialogue.proved(now))
            case LineDown(why=why):
                self._happened(lambda dialogue: dialogue.line_down(why, now))

    def welcomed(self, paired: bool) -> None:
        """See `Borrower`."""
        self._happened(lambda dialogue: dialogue.welcomed(paired, self._desk.now()))

    def _happened(self, what: Callable[[Dialogue], list[Want]]) -> None:
        with self._changed:
            if self._dialogue is not None:
                self._do(what(self._dialogue))

    # -- what is to be done --------------------------------------------------------------------------------------

    def _do(self, wants: list[Want]) -> None:
        """Under `_changed`; nothing here waits."""
        for want in wants:
            self._do_one(want)
        self._changed.notify_all()

    def _do_one(self, want: Want) -> None:
        desk = self._desk
        at = desk.lanes.by_port.get(self.port)
        match want:
            case KeepKeys(keys=keys):
                desk.in_worker(partial(self._keep, keys))
            case Register(merchants=merchants):
                desk.in_worker(partial(self._register, merchants))
            case SetName(name=name):
                desk.in_worker(partial(self._set_name, name))
            case ShowTest():
                desk.in_worker(self._show_test)
            case _ if at is None:
                pass
            case Say(message=message):
                at.say(message)
            case RefusePairing(refused=refused):
                at.with_lane(partial(_refuse_pairing, refused))
            case AskWho():
                at.identify()
            case ClearTest():
                at.with_lane(_clear_test)

    def _keep(self, keys: Keys) -> None:
        hello = self._hello()
        try:
            self._desk.registry.keep_keys(hello.terminal_id, hello.serial_number, keys, self.who)
        except Exception as error:  # noqa: BLE001 - whatever it is, the terminal must not be told that they are kept
            text = str(error)
            self._happened(lambda dialogue: dialogue.not_kept(text, self._desk.now()))
        else:
            self._happened(lambda dialogue: dialogue.kept(self._desk.now()))

    def _register(self, merchants: tuple[str, ...]) -> None:
        hello, request, registry = self._hello(), self._request, self._desk.registry
        known = registry.snapshot.find(hello.terminal_id, hello.serial_number)
        terminal = replace(
            known or Pairing(0, hello.terminal_id, hello.serial_number),
            port=self.port,
            dialect=self._setting.dialect,
            baud=self._setting.baud,
            merchants=merchants,
            retired=False,
        )
        if request.profile is not None:
            terminal = replace(terminal, profile=request.profile)
        if request.name is not None:
            terminal = replace(terminal, name=request.name)
        try:
            added = registry.add_terminal(terminal, self.who)
        except Exception as error:  # noqa: BLE001 - the person has to see it, and may answer otherwise
            text = str(error)
            self._happened(lambda dialogue: dialogue.not_registered(text, self._desk.now()))
        else:
            self._happened(
                lambda dialogue: dialogue.registered(
                    added.pairing, merchants, added.name, self._desk.now()
                )
            )

    def _set_name(self, name: str) -> None:
        hello = self._hello()
        key = f"{hello.terminal_id}/{hello.serial_number}"
        written: str | None = name
        try:
            self._desk.registry.set_terminal(key, {"name": name}, self.who)
        except Exception as error:  # noqa: BLE001 - it is paired without
            log.warning("%s", error, extra={"event": "name-not-kept"})
            written = None
        self._happened(lambda dialogue: dialogue.named(written, self._desk.now()))

    def _show_test(self) -> None:
        at = self._desk.lanes.by_port.get(self.port)
        if at is None:
            self._picture_told(False, "its line is gone")
        elif self._desk.busy(self._hello().terminal_id):
            self._picture_told(False, "the terminal has a sale open")
        else:
            at.try_panel(TEST_PAYLOAD, self._picture_told)

    def _picture_told(self, shown: bool | None, why: str) -> None:
        self._happened(lambda dialogue: dialogue.picture_told(shown, why, self._desk.now()))

    def _hello(self) -> Hello:
        assert self._dialogue is not None
        assert self._dialogue.view.terminal is not None
        return self._dialogue.view.terminal

    def _known(self, terminal_id: str, serial_number: str) -> Known:
        snapshot = self._desk.registry.snapshot
        keyed = bool(snapshot.keys_of(terminal_id, serial_number))
        known = snapshot.find(terminal_id, serial_number)
        now = snapshot.terminal(terminal_id)
        replaces = None if now is None or now is known else now.serial_number
        if known is None or known.retired:
            return Known(keyed=keyed, replaces=replaces)
        usable = tuple(one for one in known.merchants if one in snapshot.usable)
        return Known(usable, known.name, known.pairing, keyed, replaces)


def _wishes(request: Pair) -> Wishes:
    return Wishes(
        request.terminal_id, request.serial, request.merchants, request.name, request.test
    )


def _is_paired(hello: Hello, snapshot: Snapshot) -> bool:
    known = snapshot.find(hello.terminal_id, hello.serial_number)
    return known is not None and not known.retired


def _same_device(one: str, other: str) -> bool:
    if not (one.startswith("/") and other.startswith("/")):
        return False
    return Path(one).exists() and os.path.realpath(one) == os.path.realpath(other)


def _refuse_pairing(refused: bytes, lane: Lane, now: float) -> None:
    lane.refuse_pairing(refused, now)


def _clear_test(lane: Lane, now: float) -> None:
    lane.clear_test(now)

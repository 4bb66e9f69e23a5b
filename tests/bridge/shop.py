"""A shop for tests of the core: the real engine and journal, a terminal and PartPay played by the test, virtual time.

What the engine wants of PartPay waits in `asked` until the test answers it; what it says to the terminal collects in
`said`. Nothing runs by itself: `advance` moves the clock from one wake to the next.
"""

import itertools
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bridge.effects import Answer, AskPartPay, ClearPanel, Effect, Say, ShowCode, ShowText, Welcome
from bridge.engine import Engine, Rules, World
from bridge.events import CallbackReceived, CodeRead, PartPayAnswered
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, LineDown, LineUp, PictureResult
from bridge.partpay.answers import AtUrl, CancelTaken, Created, Inline, Told
from bridge.partpay.callback import SignedCallback
from bridge.registry import Merchant, Pairing, Snapshot
from bridge.tender import Ask, Confirm, Tender, Timing
from drivers.link import messages as link

LANE = "/dev/ttyS0"
PICTURE = Inline(b"jpeg")
LATER = Told(picture=AtUrl("https://example.test/qr"))


class Shop:
    def __init__(
        self,
        folder: Path,
        *,
        confirm: Confirm = Confirm.PREFER,
        timing: Timing | None = None,
        callback_key_file: Path | None = None,
    ) -> None:
        self.folder = folder
        self.clock = 1000.0
        self.boot = "boot-1"
        self.free_bytes = 10**10
        self.journal_fails: Exception | None = None
        self.rules = Rules(
            store="AKL01",
            currency=554,
            currency_text="NZD",
            prefix="TEST ",
            timing=timing or Timing(),
            confirm=confirm,
        )
        self.snapshot = Snapshot.of(
            merchants=(
                Merchant("M-1", "Shop", callback_key_file=callback_key_file),
                Merchant("M-2", "Other", callback_key_file=callback_key_file),
            ),
            pairings=(
                Pairing(1, "T0000001", "SN1", LANE, "native", 115200, ("M-1", "M-2")),
                Pairing(2, "T0000002", "SN2", "/dev/ttyS1", "native", 115200, ("M-1",)),
            ),
        )
        self._random = itertools.count(1)
        self.said: list[link.Message] = []
        self.effects: list[Effect] = []
        self.asked: list[AskPartPay] = []
        self._sequence = itertools.cycle(range(1, 256))
        self.start()

    # -- time and life ------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.engine = Engine(
            self.rules,
            World(
                now=lambda: self.clock,
                boot=self.boot,
                local=lambda: (
                    datetime(2026, 11, 23, 8, 0, tzinfo=UTC) + timedelta(seconds=self.clock)
                ),
                free_bytes=lambda: self.free_bytes,
                registry=lambda: self.snapshot,
                open_journal=self._open_journal,
                random8=lambda: f"{next(self._random):08x}",
            ),
        )
        self._take(self.engine.start())

    def _open_journal(self) -> Journal:
        if self.journal_fails is not None:
            raise self.journal_fails
        return Journal(
            self.folder / "journal.db", "sandbox", lambda: f"2026-11-23T{self.clock:.3f}"
        )

    def restart(self, *, boot: str | None = None, away_s: float = 1.0) -> None:
        """As after SIGKILL: only what was committed is left, and nothing is under way."""
        self.engine.close()
        self.asked.clear()
        self.clock += away_s
        self.boot = boot or self.boot
        self.start()

    def advance(self, seconds: float) -> None:
        until = self.clock + seconds
        while (wake := self.engine.next_wake()) is not None and wake <= until:
            self.clock = max(self.clock, wake)
            before = self.clock
            self._take(self.engine.process([]))
            again = self.engine.next_wake()
            assert again is None or again > before, "the engine wakes for ever at one moment"
        self.clock = until

    # -- the terminal -------------------------------------------------------------------------------------------

    def hear(self, message: Any, lane: str = LANE) -> list[link.Message]:
        return self.post(Heard(lane, message, next(self._sequence)))

    def post(self, *events: Any) -> list[link.Message]:
        """Processes a batch; what was said to terminals because of it."""
        mark = len(self.said)
        self._take(self.engine.process(events))
        return self.said[mark:]

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Say(message=message) | Welcome(message=message):
                    self.said.append(message)
                case AskPartPay():
                    self.asked.append(effect)
                case Answer(reply=reply, status=status):
                    reply.set_result(status)

    def hello(
        self,
        lane: str = LANE,
        terminal_id: str = "T0000001",
        serial: str = "SN1",
        *,
        key_id: bytes | None = None,
    ) -> list[link.Message]:
        return self.hear(
            link.Hello(
                terminal_id=terminal_id,
                serial_number=serial,
                version=1,
                model="Sim",
                firmware="1",
                panel_width=240,
                panel_height=320,
                formats=b"\x10",
                max_body=1024,
                can_authenticate=None if key_id is None else 1,
                session_nonce=None if key_id is None else bytes(8),
                key_id=key_id,
            ),
            lane,
        )

    def tender(
        self, counter: int = 1, amount_minor: int = 12550, **more: Any
    ) -> list[link.Message]:
        more = {"currency": 554, **more}
        return self.hear(link.Tender("T0000001", counter, amount_minor, **more))

    def cancel(self, counter: int = 1) -> list[link.Message]:
        return self.hear(link.Cancel("T0000001", counter))

    def query(self, counter: int | None = 1) -> list[link.Message]:
        return self.hear(link.Query("T0000001", counter))

    def refund(self, counter: int, original: int, amount_minor: int) -> list[link.Message]:
        return self.hear(link.Refund("T0000001", counter, original, amount_minor))

    def stored(self, counter: int = 1, code: str = "00") -> list[link.Message]:
        return self.hear(link.Stored("T0000001", counter, code))

    def unplug(self, lane: str = LANE) -> None:
        self.post(LineDown(lane, "gone"))

    def plug(self, lane: str = LANE) -> None:
        self.post(LineUp(lane))

    def panel_cannot(self, counter: int = 1) -> None:
        self.post(PictureResult(LANE, "T0000001", counter, shown=False, why="no format fits"))

    # -- PartPay ------------------------------------------------------------------------------------------------

    def pending(self, ask: Ask) -> AskPartPay | None:
        return next((a for a in self.asked if a.wanted.ask is ask), None)

    def answer(self, ask: Ask, value: object) -> list[link.Message]:
        """Answers the oldest call of this kind."""
        effect = self.pending(ask)
        assert effect is not None, f"no {ask} is asked, only {[a.wanted.ask for a in self.asked]}"
        self.asked.remove(effect)
        t = effect.tender
        return self.post(PartPayAnswered(t.pairing, t.counter, effect.wanted.attempt, ask, value))

    def read_code(
        self, payload: str | None = "https://pay.test/q/1", **more: Any
    ) -> list[link.Message]:
        effect = self.pending(Ask.PICTURE)
        assert effect is not None
        self.asked.remove(effect)
        t = effect.tender
        return self.post(CodeRead(t.pairing, t.counter, effect.wanted.attempt, payload, **more))

    def created(
        self, order_id: str = "order-1", number: str = "181211-1", **more: Any
    ) -> list[link.Message]:
        more = {"picture": PICTURE, **more}
        return self.answer(
            Ask.CREATE, Created(Told(order_id=order_id, order_number=number, **more))
        )

    def status(self, status: str | None, ask: Ask = Ask.STATUS, **more: Any) -> list[link.Message]:
        return self.answer(ask, Told(status=status, **more))

    def cancelled(self, http_status: int = 200) -> list[link.Message]:
        return self.answer(Ask.CANCEL, CancelTaken(http_status))

    def callback(
        self,
        status: str,
        order_id: str = "order-1",
        reference: str | None = None,
        signers: tuple[str, ...] = ("",),
        counter: int = 1,
    ) -> int:
        """A signed callback; the HTTP status it is answered with."""
        t = self.find(counter)
        reply: Future[int] = Future()
        self.post(
            CallbackReceived(
                SignedCallback(
                    order_id=order_id,
                    order_number="181211-1",
                    status=status,
                    gateway_reference=reference or (t.attempt.gateway_reference if t else "none"),
                    merchant_reference=t.attempt.merchant_reference if t else "none",
                    signers=frozenset(signers),
                ),
                reply,
            )
        )
        return reply.result(timeout=0)

    def callback_503(self) -> bool:
        return self._callback_while_not_writing() == 503

    def _callback_while_not_writing(self) -> int:
        reply: Future[int] = Future()
        signed = SignedCallback(
            order_id="order-1",
            order_number="181211-1",
            status="approved",
            gateway_reference="any",
            merchant_reference="any",
            signers=frozenset({""}),
        )
        self.post(CallbackReceived(signed, reply))
        return reply.result(timeout=0)

    # -- what is known ------------------------------------------------------------------------------------------

    def find(self, counter: int = 1, pairing: int = 1) -> Tender | None:
        assert self.engine._journal is not None
        return self.engine._journal.find(pairing, counter)

    def known(self, counter: int = 1) -> Tender:
        t = self.find(counter)
        assert t is not None
        return t

    def outcomes(self, counter: int = 1) -> list[str]:
        return [
            m.response_code
            for m in self.said
            if isinstance(m, link.Outcome) and m.counter == counter
        ]

    def attention(self) -> list[str]:
        assert self.engine._journal is not None
        rows = self.engine._journal._db.execute(
            "SELECT code FROM attention WHERE acknowledged_at IS NULL ORDER BY entry"
        )
        return [row[0] for row in rows]

    def shown(self) -> list[ShowCode]:
        return [e for e in self.effects if isinstance(e, ShowCode)]

    def cleared(self) -> list[ClearPanel]:
        return [e for e in self.effects if isinstance(e, ClearPanel)]

    def texts(self) -> list[str]:
        return [e.text for e in self.effects if isinstance(e, ShowText)]

    def sell(self, counter: int = 1, order_id: str = "order-1", **more: Any) -> None:
        """A tender up to the code on the panel."""
        self.tender(counter, **more)
        self.created(order_id, f"number-{order_id}")
        self.read_code()

    def retire(self, pairing: int) -> None:
        self.snapshot = Snapshot.of(
            self.snapshot.merchants.values(),
            tuple(
                replace(p, retired=True) if p.pairing == pairing else p
                for p in self.snapshot.pairings
            ),
        )

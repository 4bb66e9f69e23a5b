"""What answers a terminal while it is paired and no daemon runs: the least that is true.

- HELLO gets its WELCOME, with the journal's own identity and highest counter: a terminal that was told another would
  take what it has open for lost (terminal link, section 4, 4).
- Nothing is sold: a TENDER or REFUND that the journal does not know is refused (10), and one that it knows gets no
  answer; the terminal says it again until a daemon runs.
- Keys that have proved themselves drop those from before them, as in the daemon.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

from bridge import book as books
from bridge.effects import Say, Welcome
from bridge.events import Event
from bridge.journal.journal import Journal
from bridge.lane_events import Heard, Proved
from bridge.lanes import Lanes
from bridge.pairing_desk import PairingDesk
from bridge.registry import Registry, Snapshot, Who
from bridge.workers import Workers
from drivers.line.loop import Loop
from drivers.link import messages as link
from drivers.link.messages import PROTOCOL_VERSION, Reason

WORKERS: Final = 2
END_S: Final = 2.0


def pairing_of(hello: link.Hello, snapshot: Snapshot) -> int | None:
    """The pairing that this HELLO may speak for; None: it may for none."""
    known = snapshot.find(hello.terminal_id, hello.serial_number)
    if known is None or known.retired:
        return None
    keys = snapshot.keys_of(hello.terminal_id, hello.serial_number)
    if keys and hello.key_id is None:
        return None
    return known.pairing


def welcome(
    hello: link.Hello, snapshot: Snapshot, journal: Journal, local: datetime
) -> link.Welcome:
    """The true answer to that HELLO."""
    pairing = pairing_of(hello, snapshot)
    return link.Welcome(
        version=min(PROTOCOL_VERSION, hello.version),
        journal_id=journal.identity,
        paired=0 if pairing is None else 1,
        local_date=int(local.strftime("%y%m%d")),
        local_time=int(local.strftime("%H%M%S")),
        counter=None if pairing is None else journal.highest_counter(pairing),
    )


class Alone:
    """Lines, loop and desk of one command, which holds the state lock. A context manager.

    `prefix`: before every text outside production. `local`: the shop's date and time.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        prefix: str,
        local: Callable[[], datetime],
        who: Who,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._prefix = prefix
        self._local = local
        self._who = who
        self._hellos: dict[str, link.Hello] = {}
        self._workers = Workers(WORKERS, "pairing")
        self._loop = Loop()
        self._lanes = Lanes(
            self._loop,
            self._post,
            self._workers.do,
            prefix,
            keys_of=registry.keys_of,
        )
        self.desk = PairingDesk(self._lanes, registry, self._workers.do)
        self._thread = threading.Thread(target=self._loop.run, name="lines", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lanes.close()
        self._loop.stop()
        self._thread.join(END_S)
        self._loop.close()

    # -- on the loop's thread ------------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        match event:
            case Heard(lane=lane, message=link.Hello() as hello):
                self._hellos[lane] = hello
                self._welcome(lane, hello)
            case Heard(lane=lane, message=message, sequence=sequence, key_id=key_id):
                self._proved(lane, key_id)
                if isinstance(message, link.Tender | link.Refund):
                    self._refuse(lane, message, sequence)
            case Proved(lane=lane, key_id=key_id):
                self._proved(lane, key_id)

    def _pairing_of(self, hello: link.Hello) -> int | None:
        return pairing_of(hello, self._registry.snapshot)

    def _welcome(self, lane: str, hello: link.Hello) -> None:
        message = welcome(hello, self._registry.snapshot, self._journal, self._local())
        self._lanes.say(lane, Welcome(lane, message, message.paired == 1, hello))

    def _refuse(self, lane: str, message: link.Tender | link.Refund, sequence: int) -> None:
        hello = self._hellos.get(lane)
        pairing = None if hello is None else self._pairing_of(hello)
        if pairing is not None and self._journal.find(pairing, message.counter) is not None:
            return
        reason = Reason.NOT_PAIRED if pairing is None else Reason.CANNOT_WRITE
        refusal = books.refused(reason, message, sequence, self._prefix)
        self._lanes.say(lane, Say(lane, refusal))

    def _proved(self, lane: str, key_id: bytes | None) -> None:
        hello = self._hellos.get(lane)
        if hello is None or key_id is None:
            return
        pair = (hello.terminal_id, hello.serial_number)
        keys = self._registry.snapshot.keys_of(*pair)
        if keys and keys[-1].identifier != key_id:
            self._workers.do(partial(self._drop_older, *pair, key_id))

    def _drop_older(self, terminal_id: str, serial_number: str, key_id: bytes) -> None:
        # The command may have ended meanwhile; the next message of that terminal proves it again.
        with suppress(sqlite3.ProgrammingError):
            self._registry.keys_proved(terminal_id, serial_number, key_id, self._who)

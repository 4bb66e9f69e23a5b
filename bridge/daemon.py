"""The daemon: everything put together, started, watched and stopped.

- Ready (sd_notify, and `event=ready` on stderr) once journal, lines and listener stand; the heavy libraries are
  loaded behind that.
- The watchdog is fed only while the engine's thread and the I/O thread turn.
- SIGTERM, SIGINT: nothing new is taken, what is in the queue is written and said, exit status 0.
- Exit status 1: another daemon holds the state directory, or the listener's address. 2: the journal is of another
  environment or a newer release; nothing was touched.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from bridge import crash_points
from bridge.access import CallbackKeys, PartPay, load_libraries
from bridge.boot import boot_id
from bridge.carrier import Carrier
from bridge.config import Settings
from bridge.control import CommandError, Handler
from bridge.control_socket import CannotServeError, ControlServer
from bridge.displays import Displays
from bridge.effects import Effect, KeysProved
from bridge.engine import NOT_WRITTEN, Engine, Rules, World, is_full
from bridge.events import Acknowledged, CallbackReceived, Event, RegistryChanged
from bridge.health import Health
from bridge.heart import Heart
from bridge.http_server import CannotListenError, HttpServer, Limits
from bridge.inquiry import JournalInquiry
from bridge.journal.journal import Journal, WrongJournal
from bridge.journal.reader import JournalReader
from bridge.lane import Stage
from bridge.lanes import Lanes
from bridge.log import Log, daemon_log
from bridge.metrics import Metrics
from bridge.originals import Originals
from bridge.partpay.callback import BODY_MAX_BYTES, SignedCallback
from bridge.probe import Probes
from bridge.registry import Registry, Snapshot, Who, WrongRegistryError
from bridge.sd_notify import notify, watchdog_interval_s
from bridge.state_dir import DAEMON, StateDir, StateDirError, become_owner
from bridge.status import StatusFacts, status_facts
from bridge.tender import Confirm, Timing
from bridge.tracing import Tracing
from bridge.watch import Watch
from bridge.workers import Workers
from drivers.line.loop import Loop, boottime
from drivers.link.dialect import DIALECTS

if TYPE_CHECKING:
    from bridge.pairing_desk import PairingDesk
    from bridge.technician import Technician

JOURNAL_FILE: Final = "journal.db"
REGISTRY_FILE: Final = "registry.db"
TEST_PREFIX: Final = "TEST "
"""Before every text outside production (terminal link, section 3)."""
STOP_QUEUE_S: Final = 1.0
STOP_REPLIES_S: Final = 0.5
HEAD_EVERY_S: Final = 3600.0
"""How often the chain's head goes to the log (reliability, I-28)."""
ROUND_EVERY_S: Final = 10.0
"""How often it is counted in the journal what is owed, unstored and for attention."""
COUNTED: Final = {
    "open_tenders": "Tenders and refunds without an outcome.",
    "owed_tenders": "Tenders for which a reversal is owed.",
    "unstored_tenders": "Outcomes that their terminals have not stored.",
    "attention": "Findings that need a person.",
}
ARCHIVE_EVERY_S: Final = 3600.0
ARCHIVE_FIRST_S: Final = 600.0
"""After the start, so that a start has nothing to do but start."""
ACKNOWLEDGE_S: Final = 5.0
M_ARENA_MAX: Final = -8
STUCK_S: Final = 10.0
"""A thread that has not turned for so long is not alive, as far as the watchdog is concerned."""
TICK_S: Final = 1.0
PAIRING_WORKERS: Final = 2
"""Threads that write what a dialogue agrees on, and look for a terminal's dialect."""
PICTURE_WORKERS: Final = 2
"""Threads that read PartPay's pictures and draw those for panels."""


def rules_of(settings: Settings) -> Rules:
    """What decisions need of the configuration."""
    timing = settings.timing
    return Rules(
        store=settings.bridge.store,
        currency=settings.bridge.currency_code,
        currency_text=settings.bridge.currency,
        prefix="" if settings.partpay.production else TEST_PREFIX,
        timing=Timing(
            order_lifetime=timing.order_lifetime,
            create_timeout=timing.create_timeout,
            cancel_timeout=timing.cancel_timeout,
            poll_first=timing.poll_first,
            poll_interval=timing.poll_interval,
            stored_alert=timing.stored_alert,
        ),
        confirm=Confirm(settings.partpay.confirm_callbacks.value),
    )


def open_journal(settings: Settings) -> Journal:
    """The journal of this state directory; see `Journal`."""
    zone = settings.bridge.zone
    return Journal(
        settings.bridge.state_dir / JOURNAL_FILE,
        settings.partpay.environment.value,
        lambda: datetime.now(zone).isoformat(timespec="milliseconds"),
    )


def run(settings: Settings) -> int:
    """Runs until a signal; the exit status."""
    log = daemon_log(settings.log.format)
    log.take_over_libraries()
    # Whoever waits for these signals must block them before any other thread is there.
    _keep_memory_small()
    # What is remembered is for this user alone.
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        played = not settings.partpay.production and settings.partpay.base_url.startswith("http:")
        if crash_points.arm(os.environ, played=played):
            log.warning(
                "armed", why=f"{crash_points.VARIABLE} is set: this process ends on purpose"
            )
        become_owner(settings.bridge.state_dir)
        with StateDir.locked(settings.bridge.state_dir, DAEMON), ExitStack() as stack:
            daemon = Daemon(settings, log, stack)
            daemon.start()
            daemon.wait()
            daemon.stop()
    except StateDirError as error:
        log.error("cannot-start", why=str(error))
        return 1
    except (CannotListenError, CannotServeError) as error:
        log.error("cannot-start", why=str(error))
        return 1
    except (WrongJournal, WrongRegistryError, crash_points.NotHereError) as error:
        log.error("cannot-start", why=str(error))
        return 2
    except (sqlite3.Error, OSError) as error:
        log.error(
            "cannot-start",
            why=f"{settings.bridge.state_dir}: {error}: make it writable, and free some room",
        )
        return 1
    return 0


def _keep_memory_small() -> None:
    """One arena for all threads: glibc's own for each of them keep megabytes that nobody uses (mallopt(3))."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


class Daemon:
    """The running parts. `stack` closes what was opened, the last first."""

    def __init__(self, settings: Settings, log: Log, stack: ExitStack) -> None:
        self._settings = settings
        self._log = log
        self._stack = stack
        self.health = Health(boottime)
        self.metrics = Metrics()
        self.health.begin("starting")
        self.metrics.about(version("partpay-terminal-bridge"), settings.partpay.environment.value)
        for name, text in COUNTED.items():
            self.metrics.gauge(name, text, partial(self._counted, name))
        self.registry = stack.enter_context(
            Registry(
                settings.bridge.state_dir / REGISTRY_FILE,
                settings.partpay.environment.value,
                dialects=tuple(DIALECTS),
            )
        )
        self.watch = Watch(self.health, self.metrics, self._free_bytes, boottime)
        self.rules = rules_of(settings)
        self.engine = Engine(self.rules, self._world())
        stack.callback(self.engine.close)
        self.loop = stack.enter_context(Loop())
        self.heart = Heart(
            self.engine,
            self._carry,
            boottime,
            self._after_batch,
            self.metrics.batch_seconds.observe,
        )
        self.pictures = Workers(PICTURE_WORKERS, "picture")
        self.rounds = Workers(1, "rounds")
        self._round_at = boottime()
        originals = Originals()
        self.probes = Probes(boottime)
        self.tracing = Tracing(
            lambda: {port: at.lane for port, at in self.lanes.by_port.items()},
            lambda key: self.registry.terminal(key).port,
            boottime,
            lambda: datetime.now(settings.bridge.zone),
        )
        self.lanes = Lanes(
            self.loop,
            self.post,
            self.pictures.do,
            self.rules.prefix,
            keys_of=self.registry.keys_of,
            original_of=originals.of,
            trace=self.tracing.saw,
        )
        self.partpay = PartPay(
            settings, self.registry, token=self.watch.token, dated=self.watch.dated
        )
        self.displays = Displays(self.post, self._display_trouble, boottime)
        stack.callback(self.displays.close)
        self.carrier = Carrier(
            self.post,
            self.lanes,
            self.displays,
            self.pictures,
            self.partpay.orders,
            self.partpay.access,
            self.watch.answered,
            boottime,
            originals.keep,
            self._keys_proved,
        )
        self.keys = CallbackKeys(settings, self.registry, self.health)
        self._pairing: PairingDesk | None = None
        self._pairing_lock = threading.Lock()
        self._loop_beat = boottime()
        self._head_told_at = boottime()
        self._started_at = boottime()
        self._archive_at = boottime() + ARCHIVE_FIRST_S
        self._loop_thread = threading.Thread(target=self.loop.run, name="lines", daemon=True)

    def _world(self) -> World:
        zone = self._settings.bridge.zone
        return World(
            now=boottime,
            boot=boot_id(),
            local=lambda: datetime.now(zone),
            free_bytes=self._free_bytes,
            registry=lambda: self.registry.snapshot,
            open_journal=lambda: open_journal(self._settings),
        )

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._settings.bridge.state_dir).free
        except OSError:
            return 0

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts everything, and says that it is ready.

        Raises:
            WrongJournal, WrongRegistryError, CannotListenError, sqlite3.Error, OSError.
        """
        effects: Sequence[Effect] = ()
        try:
            effects = self.engine.start()
        except (sqlite3.Error, OSError) as error:
            if not is_full(error):
                raise
            self.engine.start_later(error)
        listener = self._stack.enter_context(self._listener())
        self._loop_thread.start()
        self._stack.callback(self._stop_loop)
        self._carry(effects)
        self.heart.start()
        self.registry.on_change(self._registry_changed)
        self.lanes.follow(self.registry.snapshot)
        self.displays.follow(self.registry.snapshot)
        self._start_control()
        self.health.end("starting")
        self.loop.call(self._beat)
        self._log.info(
            "ready",
            listener=str(listener.address),
            store=self._settings.bridge.store,
            pid=os.getpid(),
        )
        notify("READY=1")
        self.pictures.do(self._get_ready_for_the_first_sale)
        self._start_page()

    def _get_ready_for_the_first_sale(self) -> None:
        load_libraries()
        self.partpay.warm()

    def _listener(self) -> HttpServer:
        from bridge.listener import Sources, application  # noqa: PLC0415 - falcon, when it is needed

        self.listener = HttpServer(self._settings.listener.address, Limits(BODY_MAX_BYTES))
        sources = Sources(
            keys=self.keys,
            submit=self._submit,
            health=self.health.report,
            answered=self.watch.callback,
            probe=self.probes.answer,
        )
        app = application(self._settings.partpay.callback_path, sources, self.metrics, self._log)
        self.listener.start(app, self._listener_broke)
        return self.listener

    def _listener_broke(self, error: BaseException) -> None:
        self._log.error("listener-broke", error=repr(error))
        self.watch.listener_broke(error)

    def _start_control(self) -> None:
        journal = self._settings.bridge.state_dir / JOURNAL_FILE
        handler = Handler(
            self.registry,
            lambda: JournalReader(journal),
            self,
            status=self._status,
            inquiry=JournalInquiry(journal, self._settings.bridge.currency),
            pairing=self._pairing_desk,
            technician=self._workbench,
        )
        server = ControlServer(self._settings.control.socket, handler, self._log)
        self._stack.enter_context(server).start()

    def _pairing_desk(self) -> "PairingDesk":
        """Made at the first dialogue: few daemons ever see one, and it needs the cryptography's library."""
        from bridge.pairing_desk import PairingDesk  # noqa: PLC0415

        with self._pairing_lock:
            if self._pairing is None:
                work = Workers(PAIRING_WORKERS, "pairing").do
                self._pairing = PairingDesk(
                    self.lanes, self.registry, work, self.post, self._has_sale
                )
            return self._pairing

    def _workbench(self) -> "Technician":
        """Made when it is needed: few daemons ever see a technician."""
        from bridge.technician import Technician  # noqa: PLC0415

        return Technician(self.lanes, self.registry, self.tracing, self.probes, self._has_sale)

    def _has_sale(self, terminal_id: str) -> bool:
        """Whether that terminal has a sale open, so that its panel is left alone."""
        reader = JournalReader(self._settings.bridge.state_dir / JOURNAL_FILE)
        live = reader.tenders(open_only=True, terminal=terminal_id)
        return any(one["state"] != "closed" for one in live)

    def _keys_proved(self, effect: KeysProved) -> None:
        who = Who("the daemon", os.geteuid())
        self.registry.keys_proved(effect.terminal_id, effect.serial_number, effect.key_id, who)

    def acknowledge(self, entry: int | None, who: str) -> int:
        """What a person has seen, written by the engine; how many entries that were."""
        reply: Future[int] = Future()
        if not self.post(Acknowledged(entry, who, reply)):
            raise CommandError(1, "the daemon is too busy", "try again")
        try:
            count = reply.result(ACKNOWLEDGE_S)
        except TimeoutError:
            raise CommandError(1, "the daemon did not write it in time", "try again") from None
        if count == NOT_WRITTEN:
            raise CommandError(1, "the journal cannot be written", "see: partpay-bridge status")
        return count

    def _counted(self, name: str) -> float:
        try:
            reader = JournalReader(self._settings.bridge.state_dir / JOURNAL_FILE)
            return float(reader.counts()[name.removesuffix("_tenders")])
        except sqlite3.Error:
            return float("nan")

    def _start_page(self) -> None:
        """After everything else: a page that cannot be had costs no sale."""
        address = self._settings.control.page
        if address is None:
            return
        from bridge.status_page import (  # noqa: PLC0415 - a start does not wait for it
            LIMITS,
            THREAD,
            PageSources,
            application,
        )

        journal = self._settings.bridge.state_dir / JOURNAL_FILE
        zone = self._settings.bridge.zone
        sources = PageSources(
            status=self._status_with,
            journal=lambda: JournalReader(journal),
            snapshot=lambda: self.registry.snapshot,
            panels=lambda: {p: at.lane.panel_now for p, at in self.lanes.by_port.items()},
            now=boottime,
            local=lambda: datetime.now(zone).isoformat(timespec="milliseconds"),
            currency=self._settings.bridge.currency,
        )
        try:
            page = self._stack.enter_context(HttpServer(address, LIMITS, "[control] page", THREAD))
        except CannotListenError as error:
            self._log.warning("no-status-page", why=str(error))
            return
        app = application(sources, self._log, for_all=not address.loopback)
        page.start(app, lambda error: self._log.error("status-page-broke", error=repr(error)))
        self._log.info("status-page", url=f"http://{page.address}/")

    def _status(self) -> StatusFacts:
        return self._status_with(
            JournalReader(self._settings.bridge.state_dir / JOURNAL_FILE).counts()
        )

    def _status_with(self, counts: Mapping[str, int]) -> StatusFacts:
        lanes = {port: at.lane for port, at in self.lanes.by_port.items()}
        return status_facts(
            self._settings,
            report=self.health.report(),
            snapshot=self.registry.snapshot,
            lines=lanes,
            closed=frozenset(port for port, lane in lanes.items() if lane.stage is Stage.AWAY),
            counts=counts,
            listener=str(self.listener.address),
            version=version("partpay-terminal-bridge"),
            pid=os.getpid(),
            up_s=boottime() - self._started_at,
            callback_age_s=self.watch.callback_age_s,
        )

    def wait(self) -> None:
        """Until SIGTERM or SIGINT; feeds the watchdog, and tells the chain's head every hour."""
        interval = watchdog_interval_s()
        tick = TICK_S if interval is None else min(TICK_S, interval)
        while signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, tick) is None:
            now = boottime()
            if interval is not None and self.alive(now):
                notify("WATCHDOG=1")
            if now >= self._round_at:
                self._round_at = now + ROUND_EVERY_S
                self.rounds.do(self._round)
            if now - self._head_told_at >= HEAD_EVERY_S:
                self._head_told_at = now
                self._tell_head()

    def alive(self, now: float) -> bool:
        """Whether the engine's thread and the I/O thread have turned lately."""
        self.loop.call(self._beat)
        return (
            self.heart.alive and now - self.heart.beat < STUCK_S and now - self._loop_beat < STUCK_S
        )

    def _beat(self) -> None:
        self._loop_beat = boottime()

    def _round(self) -> None:
        """What has to be counted, beside the way of a sale."""
        with contextlib.suppress(sqlite3.Error):
            reader = JournalReader(self._settings.bridge.state_dir / JOURNAL_FILE)
            self.watch.counted({**reader.counts(), "waiting_long": reader.waiting_long()})

    def _tell_head(self) -> None:
        head = self.engine.head
        if head is not None:
            self._log.info("journal-head", number=head[0], hash=head[1].hex())

    def stop(self) -> None:
        """Nothing new is taken; what was taken is written and said."""
        notify("STOPPING=1")
        self._log.info("stopping")
        self.listener.stop(STOP_REPLIES_S)
        if not self.heart.stop(STOP_QUEUE_S):
            self._log.error("engine-stuck", why="it did not end in time; what is written is kept")
            self._tell_head()
        self._tell_head()
        ends = time.monotonic() + STOP_REPLIES_S
        while not self.lanes.quiet() and time.monotonic() < ends:
            time.sleep(0.01)
        self._log.info("stopped")

    def _stop_loop(self) -> None:
        self.lanes.close()
        self.loop.stop()
        self._loop_thread.join(1.0)

    # -- what passes --------------------------------------------------------------------------------------------

    def post(self, event: Event) -> bool:
        """Into the engine's queue; False where it is full."""
        self.watch.passed(event)
        return self.heart.post(event)

    def _carry(self, effects: Sequence[Effect]) -> None:
        self.carrier.carry(effects)
        self.watch.carried(effects)

    def _after_batch(self) -> None:
        self.watch.look(self.engine)
        if boottime() >= self._archive_at:
            keep = timedelta(days=self._settings.journal.keep_days)
            before = datetime.now(self._settings.bridge.zone) - keep
            done = self.engine.archive(before.isoformat(timespec="milliseconds"))
            self._archive_at = boottime() + (ARCHIVE_EVERY_S if done is None else 0.0)

    def _display_trouble(self, name: str, why: str | None) -> None:
        self.health.put("display-failed", why is not None, name, why or "")

    def _submit(self, callback: SignedCallback) -> "Future[int]":
        reply: Future[int] = Future()
        if not self.post(CallbackReceived(callback, reply)):
            reply.set_result(503)
        return reply

    def _registry_changed(self, snapshot: Snapshot) -> None:
        self.lanes.follow(snapshot)
        self.displays.follow(snapshot)
        self.post(RegistryChanged())

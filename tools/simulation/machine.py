"""The in-store PC: the daemon's parts as they are put together, on virtual time; killed, and started again.

- One process is a `Life`. SIGKILL ends it between two statements, or between two effects: what was committed stays,
  what was let out is out, all else is gone.
- The engine takes what waits in one batch, a moment after it came; effects are let out in order.
- Two clocks: the boot clock, that decisions run on, and the wall clock, which may say anything.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.effects import (
    Answer,
    AskPartPay,
    ClearPanel,
    Effect,
    Identify,
    Say,
    ShowCode,
    ShowText,
    Welcome,
)
from bridge.engine import Engine
from bridge.engine import World as Surroundings
from bridge.events import CallbackReceived, Event, PartPayAnswered, RegistryChanged
from bridge.journal.journal import Journal
from bridge.lane import CannotShow, Deliver, Lane
from bridge.lane_events import Heard, LaneEvent
from bridge.partpay.callback import BadCallback, check
from bridge.tender import Ask
from drivers.display.geometry import Panel
from drivers.link import messages as link
from tools.simulation.disk import Disk, Killed
from tools.simulation.partpay import Call
from tools.simulation.schedule import Alarm

if TYPE_CHECKING:
    from tools.simulation.line import Line
    from tools.simulation.world import World

WALL_EPOCH = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
TURN_S = 0.0005
TICK_S = 1e-6
"""A timer never rings early, though one clock's sum is not quite the other's."""
DRAW_S = 0.004
REPLY_WAIT_S = 10.0
"""How long the listener waits for the engine's word on a callback."""
DOWN_S = (0.2, 12.0)
BOOT_S = (8.0, 60.0)
STARTS_MAX = 12
"""So many starts in a row that end at once are no recovery."""
MOMENT_TURNS_MAX = 60
"""So many batches without time passing are no progress."""
TTY_BYTES = 4096
"""What the system keeps of a line that nobody reads."""
BACKUP_EVERY_S = 45.0
FREE_BYTES = 10**10
LOW_BYTES = 10**6


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture for a panel, which says what it says in plain text."""

    format: int
    width: int
    height: int
    data: bytes


class Reply:
    """A callback that waits for the engine."""

    __slots__ = ("answer", "over")

    def __init__(self, answer: Callable[[int], None]) -> None:
        self.answer = answer
        self.over = False

    def set_result(self, status: int) -> None:
        if not self.over:
            self.over = True
            self.answer(status)


class Port:
    """One port of one life: a lane at work on a line."""

    def __init__(self, life: Life, line: Line) -> None:
        self.life = life
        self.line = line
        self.alive = True
        self.leaving = 0
        world = life.world
        self.lane = Lane(
            line.name,
            world.dialect,
            post=self._post,
            draw=self._draw,
            baud=world.baud,
            text_prefix=world.rules.prefix,
            keys_of=world.keys_of,
            fresh_nonce=world.fresh_nonce,
            trace=self._trace,
        )
        self._alarm = Alarm(world.schedule, self._ring)
        self._kept = bytearray()
        """What came while the process stood still."""

    # -- the line ----------------------------------------------------------------------------

    def open(self) -> None:
        """The port is there."""
        self.line.port = self
        self.lane.line_up(self.life.now())
        self.go_on()

    def lost(self) -> None:
        """The port is gone."""
        self.lane.line_down(f"{self.line.name} is gone: plug it in", self.life.now())
        self.go_on()

    def receive(self, data: bytes) -> None:
        if self.life.frozen():
            if not self._kept:
                self.life.when_thawed(self._read_kept)
            self._kept += data[: TTY_BYTES - len(self._kept)]
            return
        self.lane.receive(data, self.life.now())
        self.go_on()

    def written(self) -> None:
        if self.life.frozen():
            self.life.when_thawed(self.written)
            return
        if self.alive:
            self.lane.written(self.life.now())
            self.go_on()

    def _read_kept(self) -> None:
        data, self._kept = bytes(self._kept), bytearray()
        if self.alive:
            self.receive(data)

    def go_on(self) -> None:
        """After anything: what is to be written, and when to look again."""
        life = self.life
        data = self.lane.take_output(life.now())
        if data:
            self.line.write_down(data, self)
        wake = self.lane.next_wake()
        self._alarm.set(None if wake is None else wake + life.machine.zero + TICK_S)

    def _ring(self) -> None:
        if not self.alive:
            return
        if self.life.frozen():
            self.life.when_thawed(self._ring)
            return
        self.lane.wake(self.life.now())
        self.go_on()

    # -- what the lane wants -----------------------------------------------------------------

    def _post(self, event: LaneEvent) -> None:
        world = self.life.world
        if isinstance(event, Heard):
            if not self.line.taken(self.line.up, event.message):
                world.by_chance(f"{self.line.name} up: {event.message}")
            world.observer.heard(self.life, event)
            message = event.message
            if isinstance(message, link.Tender | link.Refund) and world.machine.made:
                self.life.repeats.append((message, world.oracles.repeated(message)))
        self.life.post(event)

    def _draw(
        self, payload: str, panel: Panel, formats: bytes, largest: int | None, deliver: Deliver
    ) -> None:
        world = self.life.world
        drawn: Drawn | CannotShow
        if world.faults.hits("draw.fails"):
            drawn = CannotShow("no format of this panel can be made")
        else:
            drawn = Drawn(formats[0], 29, 29, payload.encode())
        world.schedule.after(DRAW_S, self._drawn, drawn, deliver)

    def _drawn(self, drawn: Drawn | CannotShow, deliver: Deliver) -> None:
        if self.alive:
            deliver(drawn, self.life.now())
            self.go_on()

    def _trace(self, direction: str, kind: str, data: object) -> None:
        if direction == "out" and kind == "message":
            self.line.down.said.append(data)
            hello = self.lane.hello
            world = self.life.world
            here = None if hello is None else hello.terminal_id
            world.oracles.said_on(self.line.name, data, here)
            if isinstance(data, link.Refused):
                world.happened(f"REFUSED {data.reason}")


class Life:
    """One process, from its start to its end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.world = machine.world
        self.alive = True
        self.queue: list[Event] = []
        self.pools = self.world.network.pools()
        self.replies: list[Reply] = []
        self.repeats: list[tuple[link.Tender | link.Refund, str]] = []
        """TENDER and REFUND of the next batch, and what they were to what was written when they came."""
        self.creates: set[str] = set()
        """Gateway references of creates that have no answer yet."""
        self.ports: dict[str, Port] = {}
        self.engine = Engine(self.world.rules, machine.surroundings())
        self._turn_at: float | None = None
        self._alarm = Alarm(self.world.schedule, self._ring)

    def now(self) -> float:
        """The boot clock."""
        return self.world.schedule.now - self.machine.zero

    def frozen(self) -> bool:
        """Whether the process stands still just now."""
        return self.world.schedule.now < self.machine.frozen_until

    def when_thawed(self, do: Callable[..., object], *given: object) -> None:
        """Have `do` done when it goes on."""
        self.world.schedule.at(self.machine.frozen_until, do, *given)

    # -- the engine --------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Into the engine's queue."""
        if not self.alive:
            return
        self.queue.append(event)
        if self._turn_at is None:
            schedule = self.world.schedule
            self._turn_at = max(schedule.now + TURN_S, self.machine.stalled_until)
            schedule.at(self._turn_at, self._turn)

    def _ring(self) -> None:
        if self.alive and self._turn_at is None:
            self._turn_at = self.world.schedule.now
            self._turn()

    def _turn(self) -> None:
        if not self.alive:
            return
        machine, schedule = self.machine, self.world.schedule
        until = max(machine.stalled_until, machine.frozen_until)
        if schedule.now < until:
            self._turn_at = until
            schedule.at(until, self._turn)
            return
        self._turn_at = None
        batch, self.queue = self.queue, []
        machine.turn(self, lambda: self.engine.process(batch), batch)

    def wait(self) -> None:
        """Have the engine's own next moment come."""
        wake = self.engine.next_wake()
        if wake is not None:
            wake += self.machine.zero + TICK_S
            if self.world.faults.hits("timer.late"):
                wake += self.world.faults.stream("timer.late").uniform(0.0, 10.0)
        self._alarm.set(wake)

    def end(self) -> None:
        """Nothing of it goes on."""
        self.alive = False
        for port in self.ports.values():
            port.alive = False
            if port.line.port is port:
                port.line.port = None


class Machine:
    """The PC. `life` is None while no daemon runs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.disk = Disk.fresh()
        self.life: Life | None = None
        self.zero = -world.streams.of("uptime").choice((0.0, 3600.0, 1_000_000.0))
        """When the boot clock was 0: a shop's PC may have been on for days."""
        self.stalled_until = 0.0
        self.frozen_until = 0.0
        self.answered: set[tuple[int, int]] = set()
        """Pairing and counter of the tenders to which PartPay's answers came in this batch."""
        self.disk_lied = False
        """A commit was said to fail and was durable: what was refused may be written."""
        self.low = False
        self.cannot_open = 0
        self.wall_offset = timedelta(0)
        self.kills = 0
        self._boots = 1
        self._starts = 0
        self.made = False
        """The journal was opened once: its tables are there."""
        self._draw = world.streams.of("machine")
        self._references = world.streams.of("references")
        self._folder = tempfile.mkdtemp(prefix="simulation-", dir=_memory_folder())
        self._path = Path(self._folder) / "journal.db"
        self._moment = (-1.0, 0)
        self._copy: bytes | None = None
        """A backup, if one was made."""
        if world.faults.any("disk.restored"):
            self._back_up()

    def close(self) -> None:
        """Leaves nothing behind."""
        if self.life is not None:
            self.life.engine.close()
        self.disk.discard()
        for left in Path(self._folder).iterdir():
            left.unlink()
        Path(self._folder).rmdir()

    # -- clocks ------------------------------------------------------------------------------

    def wall(self) -> datetime:
        """What the wall clock says."""
        return WALL_EPOCH + timedelta(seconds=self.world.schedule.now) + self.wall_offset

    def surroundings(self) -> Surroundings:
        """What the engine reads of the world."""
        return Surroundings(
            now=lambda: self.world.schedule.now - self.zero,
            boot=f"boot-{self._boots}",
            local=self.wall,
            free_bytes=lambda: LOW_BYTES if self.low else FREE_BYTES,
            registry=lambda: self.world.snapshot,
            open_journal=self._open_journal,
            random8=lambda: f"{self._references.getrandbits(32):08x}",
        )

    def _open_journal(self) -> Journal:
        if self.cannot_open > 0:
            self.cannot_open -= 1
            raise OSError("the journal's file cannot be opened")
        return Journal(
            self._path,
            "sandbox",
            lambda: self.wall().isoformat(timespec="milliseconds"),
            new_identity=lambda: f"{self._references.getrandbits(64):016x}",
            connect=self.disk.connect,
        )

    # -- life and death ----------------------------------------------------------------------

    def start(self) -> None:
        """The daemon starts."""
        if self.life is not None:
            return
        self._starts += 1
        self.world.oracles.require(
            self._starts < STARTS_MAX or self.world.faults.on,
            "no-start",
            "the daemon does not get up any more",
        )
        self.world.note("start")
        life = self.life = Life(self)
        self.world.observer.starting(life)
        self.turn(life, life.engine.start, [], starting=True)
        if self.life is life:
            self._starts = 0
            self.made = True
            self.world.oracles.durable(self.disk.pragmas)
            for line in self.world.lines:
                life.ports[line.name] = Port(life, line)
                if line.present:
                    life.ports[line.name].open()

    def kill(self, why: str, down_s: tuple[float, float] = DOWN_S) -> None:
        """SIGKILL, and a start some time later (`down_s`: from, to)."""
        life = self.life
        if life is None:
            return
        self.kills += 1
        self.world.note("kill", why)
        life.end()
        self.life = None
        # Closes what the kernel closes for a process that is gone; the disk forgets what was not committed.
        life.engine.close()
        self.disk.close()
        for reply in life.replies:
            if not reply.over:
                reply.over = True
                self.world.schedule.after(0.01, reply.answer, 503)
        self.stalled_until = self.frozen_until = 0.0
        if self._copy is not None and self.world.faults.hits("disk.restored"):
            self.world.note("restored")
            self.disk.restore(self._copy)
            self.world.oracles.restored()
        self.world.schedule.after(self._draw.uniform(*down_s), self.start)

    def lose_power(self) -> None:
        """The PC goes off and comes up as another boot."""
        if self.life is None:
            return
        self.kill("power", BOOT_S)
        self._boots += 1
        self.zero = self.world.schedule.now

    def _back_up(self) -> None:
        """A copy of the journal, now and then."""
        if self.made and not self.disk.in_transaction:
            self._copy = self.disk.copied()
        if self.world.faults.on:
            self.world.schedule.after(BACKUP_EVERY_S, self._back_up)

    def freeze(self, seconds: float) -> None:
        """The whole process stands still."""
        self.frozen_until = max(self.frozen_until, self.world.schedule.now + seconds)

    # -- a turn of the engine ----------------------------------------------------------------

    def turn(
        self,
        life: Life,
        take: Callable[[], list[Effect]],
        batch: list[Event],
        *,
        starting: bool = False,
    ) -> None:
        """The engine takes a batch, and its effects are let out; or it is killed on the way."""
        faults = self.world.faults
        self._count_moment()
        self.answered = {(e.pairing, e.counter) for e in batch if isinstance(e, PartPayAnswered)}
        cut = self._plan_trouble(starting) if faults.on else None
        try:
            effects = take()
            self.disk.heal()
        except Killed:
            self.kill("in its work")
            return
        except Exception as error:
            if starting and _is_of_disk(error):
                self.kill("cannot start")
                return
            raise
        self.world.oracles.require(
            life.engine.poisoned == 0, "set-aside", "an event was set aside; the journal says why"
        )
        self.world.observer.turned(life, batch, effects)
        cleared = any(isinstance(effect, ClearPanel) for effect in effects)
        if cut is not None:
            cut = int(cut * (len(effects) + 1))
            for lost in effects[cut:]:
                self.world.observer.lost(lost)
            effects = effects[:cut]
        self._judge_repeats(life, batch, effects)
        for effect in effects:
            self._let_out(life, effect, cleared=cleared)
        touched = dict.fromkeys(
            lane for effect in effects if (lane := getattr(effect, "lane", None)) is not None
        )
        if cut is not None:
            self.kill("between effects")
        elif life.alive:
            for lane in touched:
                life.ports[lane].go_on()
            life.wait()

    def _count_moment(self) -> None:
        now = self.world.schedule.now
        count = self._moment[1] + 1 if self._moment[0] == now else 1
        self._moment = (now, count)
        self.world.oracles.require(
            count < MOMENT_TURNS_MAX, "livelock", "the engine turns without end at one moment"
        )

    def _plan_trouble(self, starting: bool) -> float | None:
        """What befalls this turn; how far its effects get (0 to 1) where it is killed among them."""
        faults, disk = self.world.faults, self.disk
        if starting and self.kills > 0 and faults.hits("kill.again"):
            draw = faults.stream("kill.again")
            self.world.happened("a kill during the recovery")
            if draw.random() < 0.6:
                disk.kill_at(draw.choice(("INSERT", "UPDATE", "COMMIT", "SELECT")))
                return None
            return float(draw.random())
        if faults.hits("kill.commit"):
            disk.kill_at("COMMIT")
        elif faults.hits("kill.write"):
            draw = faults.stream("kill.write")
            disk.kill_at(
                draw.choice(("INSERT INTO events", "UPDATE", "INSERT")), draw.choice((1, 2))
            )
        elif faults.hits("kill.durable"):
            return 0.0
        elif faults.hits("kill.effects"):
            return float(faults.stream("kill.effects").random())
        elif disk.full:
            pass
        elif faults.hits("disk.write"):
            draw = faults.stream("disk.write")
            disk.fail_once(draw.choice(("INSERT INTO events", "UPDATE", "INSERT", "BEGIN")))
            self._maybe_not_opened()
        elif faults.hits("disk.commit"):
            disk.fail_once("COMMIT")
            self._maybe_not_opened()
        elif faults.hits("disk.lies"):
            self.disk_lied = True
            disk.fail_once("COMMIT", after=True)
            self._maybe_not_opened()
        return None

    def _maybe_not_opened(self) -> None:
        if self.world.faults.hits("disk.open"):
            self.cannot_open = self.world.faults.stream("disk.open").choice((1, 2, 5))

    def _judge_repeats(self, life: Life, batch: list[Event], effects: list[Effect]) -> None:
        """I-9, I-10: other content, or what is stored, gets REFUSED 3 and nothing else."""
        repeats, life.repeats = life.repeats, []
        times = Counter(
            (event.message.terminal_id, event.message.counter)
            for event in batch
            if isinstance(event, Heard) and isinstance(event.message, link.Tender | link.Refund)
        )
        self.world.oracles.said_again = {key for key, count in times.items() if count > 1}
        for event in batch:
            if isinstance(event, Heard) and isinstance(event.message, link.Stored):
                self.world.oracles.stored(event.message.terminal_id, event.message.counter)
        for message, what in repeats:
            if what not in ("other", "stored") or (what == "stored" and self.disk_lied):
                continue  # of a STORED whose commit failed as far as the bridge was told, it knows nothing
            key = (message.terminal_id, message.counter)
            asked = any(
                isinstance(event, Heard)
                and event.message is not message
                and getattr(event.message, "counter", key[1]) in (key[1], None)
                for event in batch
            )
            told = [
                effect.message.type_name
                for effect in effects
                if isinstance(effect, Say)
                and isinstance(effect.message, link.Accepted | link.Outcome)
                and (effect.message.terminal_id, effect.message.counter) == key
            ]
            # Refused as it has to be; and its time was over at the same moment.
            refused = any(
                isinstance(effect, Say)
                and isinstance(effect.message, link.Refused)
                and (effect.message.reason, effect.message.counter) == (3, key[1])
                for effect in effects
            )
            self.world.oracles.require(
                len(batch) > 1 or asked or refused or not told,
                "repeat-taken",
                f"{message} is {what} content, and gets {told}",
            )

    def _let_out(self, life: Life, effect: Effect, *, cleared: bool) -> None:
        world, oracles = self.world, self.world.oracles
        match effect:
            case Say(lane=lane, message=message):
                match message:
                    case link.Accepted():
                        oracles.accepted(lane, message)
                    case link.Outcome():
                        oracles.outcome(message, life.now())
                        if message.response_code != "00":
                            world.gap("outcome-said", message.terminal_id, message.counter)
                    case link.Progress():
                        oracles.progress(message)
                    case link.Refused():
                        oracles.refused(message)
                    case _:
                        pass
                world.observer.said(message)
                world.note("say", lane, message.type_name, getattr(message, "counter", None))
                life.ports[lane].lane.say(message, life.now())
            case Welcome(lane=lane, message=welcome, hello=answered):
                port = life.ports[lane]
                said = port.lane.say(welcome, life.now(), answers=answered)
                hello = port.lane.hello
                if said and hello is not None:
                    oracles.welcome(hello.terminal_id, welcome)
                world.note("welcome", lane, welcome.paired, welcome.counter)
            case Identify(lane=lane):
                life.ports[lane].lane.identify(life.now())
            case ShowCode(lane=lane):
                port = life.ports[lane]
                hello = port.lane.hello
                terminal_id = "" if hello is None else hello.terminal_id
                if terminal_id == effect.accepted.terminal_id:  # else the lane drops it
                    oracles.code_sent(lane, effect.accepted, effect.payload, cleared=cleared)
                world.note("code", lane, effect.payload)
                port.lane.show_code(effect.accepted, effect.payload, effect.life_ends, life.now())
            case ClearPanel(lane=lane, after_outcome=after_outcome):
                life.ports[lane].lane.clear(life.now(), after_outcome=after_outcome)
            case ShowText(lane=lane, text=text):
                life.ports[lane].lane.show_text(text, life.now())
            case AskPartPay(tender=t, wanted=wanted):
                call = world.network.ask(t, wanted, life)
                if call is not None and wanted.ask is not Ask.PICTURE:
                    oracles.asks(call, (t.terminal_id, t.counter))
                    _note_call(world, call)
            case Answer(reply=reply, status=status):
                reply.set_result(status)

    # -- the listener ------------------------------------------------------------------------

    def callback(self, raw: bytes, answer: Callable[[int], None]) -> None:
        """A callback comes in over HTTP; `answer` gets the status, once."""
        life = self.life
        if life is None:
            answer(503)  # nobody listens: PartPay sees no connection
            return
        if life.frozen():
            life.when_thawed(self.callback, raw, answer)
            return
        checked = check(raw, self.world.callback_keys)
        if isinstance(checked, BadCallback):
            answer(checked.http_status)
            return
        reply = Reply(answer)
        life.replies = [one for one in life.replies if not one.over]
        life.replies.append(reply)
        self.world.schedule.after(REPLY_WAIT_S, reply.set_result, 503)
        life.post(CallbackReceived(checked, reply))  # type: ignore[arg-type]

    def registry_changed(self) -> None:
        """Merchants or terminals were changed by command."""
        if self.life is not None:
            self.life.post(RegistryChanged())


def _note_call(world: World, call: Call) -> None:
    world.note("ask", call.kind, call.order_id or call.gateway_reference, call.amount)


def _is_of_disk(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__ == "sqlite3"


def _memory_folder() -> str | None:
    """Where files cost nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None

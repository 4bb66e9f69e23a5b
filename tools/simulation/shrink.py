"""The shortest that still fails: fewer faults, fewer sales, fewer terminals; and its trace in words.

Greedy: whole sources are switched off first, then single kinds, then sales and terminals go; what makes the same
thing fail in fewer steps is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace

from drivers.link.dialect import Dialect, dialect_named
from drivers.link.encoding import Decoded
from drivers.link.framing import Ack, Frame, Nak
from drivers.link.messages import NotUnderstood
from tools.simulation.faults import KINDS
from tools.simulation.world import Plan, Result, World, run

TRIES_MAX = 400


class Shrinker:
    """Looks for a smaller plan with the same violation."""

    def __init__(self, failed: Result, progress: Callable[[Result], None]) -> None:
        self.best = failed
        self._name = failed.violation
        self._progress = progress
        self._left = TRIES_MAX

    def _try(self, plan: Plan) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        result = run(plan)
        if result.violation != self._name or result.steps > self.best.steps * 1.5:
            return False
        self.best = result
        self._progress(result)
        return True

    def shrink(self) -> Result:
        """The smallest that was found."""
        sources = dict.fromkeys(name.partition(".")[0] for name in KINDS)
        before = -1
        while before != self.best.steps and self._left > 0:
            before = self.best.steps
            self._fewer_people()
            self._without(sources)
            self._without(name for name in KINDS if self.best.faults[name])
        return self.best

    def _without(self, names: Iterable[str]) -> None:
        for name in list(names):
            plan = self.best.plan
            if name not in plan.without:
                self._try(replace(plan, without=(*plan.without, name)))

    def _fewer_people(self) -> None:
        for tills in (1, 2, 3):
            if self._try(replace(self.best.plan, tills=tills)):
                break
        for sales in (1, 2, 3, 4, 6, 8, 12):
            if (self.best.plan.sales or 99) > sales and self._try(
                replace(self.best.plan, sales=sales)
            ):
                break


def command(plan: Plan) -> str:
    """What runs exactly this world again, and shows its trace."""
    words = ["tools/simulate", f"--seed {plan.seed}", f"--world {plan.index}"]
    if not plan.faults:
        words.append("--faults off")
    if plan.without:
        words.append("--without " + ",".join(plan.without))
    if plan.sales is not None:
        words.append(f"--sales {plan.sales}")
    if plan.tills is not None:
        words.append(f"--tills {plan.tills}")
    if plan.flat:
        words.append("--flat")
    if not plan.wall_jumps:
        words.append("--steady-wall")
    return " ".join((*words, "--trace"))


def traced(plan: Plan) -> tuple[Result, list[str]]:
    """The world once more, with its trace in words, one line for each thing that happened."""
    world = World(replace(plan, trace=True))
    result = world.run()
    return result, list(_lines(result, world.dialect))


def _lines(result: Result, dialect: Dialect | str) -> Iterator[str]:
    if isinstance(dialect, str):
        dialect = dialect_named(dialect)
    decoders: dict[tuple[str, object], object] = {}
    for at, what, about in result.trace:
        if what in ("up", "down"):
            port, data = about
            key = (what, port)
            if key not in decoders:
                decoders[key] = dialect.framing.decoder(4092)
            said = _said(dialect, decoders[key], data)  # type: ignore[arg-type]
            arrow = "terminal ->" if what == "up" else "bridge   ->"
            yield f"{at:12.6f}  {port} {arrow} {said}"
        else:
            yield f"{at:12.6f}  {what}: {' '.join(map(str, about))}"


def _said(dialect: Dialect, decoder: object, data: bytes) -> str:
    words = []
    for event in decoder.feed(data):  # type: ignore[attr-defined]
        match event:
            case Ack():
                words.append("ACK")
            case Nak():
                words.append("NAK")
            case Frame(body):
                words.append(_message(dialect, body))
            case _:
                words.append(f"damaged frame ({event.why})")
    return ", ".join(words) or f"{len(data)} bytes: {data[:24].hex(' ')}"


def _message(dialect: Dialect, body: bytes) -> str:
    try:
        decoded: Decoded = dialect.encoding.decode(body)
    except NotUnderstood as error:
        return f"not understood: {error.why}"
    message = decoded.message
    parts = []
    for part in fields(message):
        value = getattr(message, part.name)
        if value is not None and part.name not in ("data", "formats", "terminal_id"):
            parts.append(f"{part.name}={value!r}")
    return f"{message.type_name}#{decoded.sequence}({', '.join(parts)})"

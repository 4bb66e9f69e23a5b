"""The dialogue by which a terminal becomes this bridge's: who is asked what, in which order, and for how long.

Rules
- Pure: what happens on the line, what the person answers, and the time come in; what is to be done comes out as
  wants, in the order in which it must be done. The cryptography is `drivers.link.pairing`'s.
- One object is one dialogue. Each step has a limit; whoever does not answer has said no.
- Nothing is registered without a person's yes: to the six digits, or, of a terminal that can show none, to that.
- A terminal that this bridge has keys for is never paired without: somebody could have taken DF20 out of its HELLO.
- Keys are kept before PAIR_DONE is said, and whatever fails later, they stay: the terminal has them, too.
- Once it is registered nothing undoes that: the test picture and the name are for people.

    WAITING --HELLO--> [REPLACE yes] --can authenticate--> OPENED --PAIR_KEY--> COMPARING --yes--> CONFIRMED
                            |                                                              PAIR_CONFIRM |
                            '--cannot--> PLAIN --yes--> MERCHANT <---------------- KEEPING <------------'
    MERCHANT --> REGISTERING --> GREETING --WELCOME, and a right code--> PICTURE --> SCANNED --> NAME --> DONE
    ENDED from each of them before it is registered: a no, a line that is gone, another terminal, time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeAlias

from drivers.link import pairing as link_pairing
from drivers.link.authentication import Keys
from drivers.link.messages import Hello, Message, PairConfirm, PairDone, PairKey, PairOpen

WAIT_S: Final = 120.0
"""Each wait for a terminal and each question, but the dialogue of the digits, which has its own 120 s (link, 6)."""
OPEN_AGAIN_S: Final = 3.0
"""PAIR_OPEN again, until its menu is open and PAIR_KEY comes; the same one each time."""
GREETING_S: Final = 30.0
"""IDENTIFY goes out every 5 s, and a terminal with keys answers it at most every 5 s."""
PICTURE_S: Final = 90.0
"""Three tries of a large picture on a slow line."""


class Step(StrEnum):
    """Where the dialogue stands; the values are what commands see."""

    WAITING = "waiting"
    """For a HELLO."""
    REPLACE = "replace"
    """Another device has this terminal id: is it to be replaced?"""
    PLAIN = "plain"
    """It cannot authenticate: is it to be paired all the same?"""
    OPENED = "opened"
    """PAIR_OPEN is out: its own menu has to be opened."""
    COMPARING = "comparing"
    """Six digits are shown at both ends: are they the same?"""
    CONFIRMED = "confirmed"
    """The person here has said yes; the terminal has to be told, too."""
    KEEPING = "keeping"
    """The keys are being written."""
    MERCHANT = "merchant"
    """Which merchants may it sell for?"""
    REGISTERING = "registering"
    """It is being written into the registry."""
    GREETING = "greeting"
    """It is registered, and is to say HELLO again."""
    PICTURE = "picture"
    """A test picture is on its way."""
    SCANNED = "scanned"
    """The test picture is there: can it be scanned?"""
    NAME = "name"
    """Who faces it, and where does it stand?"""
    NAMING = "naming"
    """The name is being written into the registry."""
    DONE = "done"
    ENDED = "ended"
    """Nothing was registered."""


ASKS: Final = frozenset(
    {Step.REPLACE, Step.PLAIN, Step.COMPARING, Step.MERCHANT, Step.SCANNED, Step.NAME}
)
"""The steps that wait for a person's answer: "yes" or "no" (of a scan "skip" too), merchant ids, or a name
(empty: none)."""

_BREAKS_OFF: Final = frozenset(
    {Step.REPLACE, Step.PLAIN, Step.OPENED, Step.COMPARING, Step.CONFIRMED}
)
"""The steps in which the cable must stay where it is."""

_REGISTERED: Final = frozenset(
    {Step.GREETING, Step.PICTURE, Step.SCANNED, Step.NAME, Step.NAMING, Step.DONE}
)


class WrongAnswerError(ValueError):
    """The answer is none to this question; it stays."""


# -- what is to be done


@dataclass(frozen=True, slots=True)
class Say:
    """Say this to the terminal."""

    message: Message


@dataclass(frozen=True, slots=True)
class RefusePairing:
    """End the dialogue at the terminal: REFUSED 9 with this DF0C."""

    refused: bytes


@dataclass(frozen=True, slots=True)
class KeepKeys:
    """Write these down, durably; then call `kept`, or `not_kept`."""

    keys: Keys


@dataclass(frozen=True, slots=True)
class Register:
    """Register the terminal for these merchants; then call `registered`, or `not_registered`."""

    merchants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetName:
    """Write down what people call it; then call `named`."""

    name: str


@dataclass(frozen=True, slots=True)
class AskWho:
    """IDENTIFY."""


@dataclass(frozen=True, slots=True)
class ShowTest:
    """A test picture; then call `picture_told`."""


@dataclass(frozen=True, slots=True)
class ClearTest:
    """Take the test picture away."""


Want: TypeAlias = (
    Say | RefusePairing | KeepKeys | Register | SetName | AskWho | ShowTest | ClearTest
)


# -- what is known


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry knows of a terminal that has said HELLO.

    `merchants`, `name`, `pairing`: of its registration, none where it has none. `keyed`: it has keys here.
    `replaces`: the serial number of another device that has this terminal id now.
    """

    merchants: tuple[str, ...] = ()
    name: str | None = None
    pairing: int | None = None
    keyed: bool = False
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was said beforehand: `terminal_id` and `serial_number` are those of the only terminal that is taken;
    with `merchants` and `name` nobody is asked for them; `test` False: no test picture."""

    terminal_id: str | None = None
    serial_number: str | None = None
    merchants: tuple[str, ...] = ()
    name: str | None = None
    test: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What a person is to see. `number` is another one each time.

    `text`: in whole sentences. `digits`: the six. `ends_at`: when this step is over, on the dialogue's clock.
    `shown`: what the terminal said of the test picture. `scanned`: what the person said of it.
    """

    number: int = 0
    step: Step = Step.WAITING
    text: str = ""
    digits: str | None = None
    ends_at: float = 0.0
    terminal: Hello | None = None
    authenticated: bool = False
    pairing: int | None = None
    merchants: tuple[str, ...] = ()
    name: str | None = None
    shown: bool | None = None
    scanned: bool | None = None

    @property
    def over(self) -> bool:
        return self.step in (Step.DONE, Step.ENDED)


@dataclass(slots=True)
class Dialogue:
    """One dialogue on one port. Every method that returns wants has them done at once, in that order.

    `port`: its name for people. `known(terminal_id, serial_number)`: what the registry knows. `share`: fresh keys and
    nonce for the cryptography. Times are seconds of any clock that does not jump.
    """

    port: str
    wishes: Wishes
    known: Callable[[str, str], Known]
    share: Callable[[], link_pairing.Share]
    now: float
    view: View = field(default_factory=View)
    _known: Known = field(default_factory=Known)
    _pairing: link_pairing.BridgePairing | None = None
    _opening: PairOpen | None = None
    _open_again_at: float = 0.0
    _keys: Keys | None = None
    _last_heard: bytes = b""
    _done: PairDone | None = None
    _done_until: float = 0.0
    _after_keeping: list[link_pairing.Step] = field(default_factory=list)
    _welcomed: bool = False
    _proved: bool = False

    def __post_init__(self) -> None:
        self._go(
            Step.WAITING,
            f"Waiting for a terminal on {self.port}: plug it in, switch it on.",
            self.now,
        )

    # -- what happens on the line --------------------------------------------------------------------------------

    def hello(self, hello: Hello, now: float) -> list[Want]:
        """A HELLO came, one with unknown keys too."""
        self._welcomed = self._proved = False
        before = self.view.terminal
        if self.view.step is Step.WAITING:
            return self._found(hello, now)
        if before is None:
            return []
        same = (hello.terminal_id, hello.serial_number) == (
            before.terminal_id,
            before.serial_number,
        )
        if not same:
            if self.view.step in _BREAKS_OFF:
                return self._end(
                    f"Another terminal ({_named(hello)}) has come to {self.port}. Leave the cable where it is, and "
                    "begin again.",
                    now,
                )
            return []
        if self._lost_done(hello, now):
            assert self._done is not None
            return [Say(self._done)]
        return []

    def said(self, message: PairKey | PairConfirm, sequence: int, now: float) -> list[Want]:
        """PAIR_KEY or PAIR_CONFIRM came, with its number."""
        self._last_heard = bytes((message.type_code, sequence))
        if self._pairing is None:
            return [RefusePairing(self._last_heard)]
        steps = self._pairing.receive(message, sequence)
        if self.view.step is Step.KEEPING:
            # It says PAIR_CONFIRM again: the answer waits until the keys are written.
            return []
        return self._follow(steps, now)

    def line_down(self, why: str, now: float) -> list[Want]:
        """The port is gone, or cannot be opened; `why` has the remedy."""
        self._welcomed = self._proved = False
        if self.view.step is Step.WAITING:
            self._tell(f"Waiting for a terminal on {self.port}. {why}")
            return []
        if self.view.step in _BREAKS_OFF:
            return self._end(f"The line is gone ({why}). Begin again.", now)
        return []

    def welcomed(self, paired: bool, now: float) -> list[Want]:
        """WELCOME was said, and said so."""
        self._welcomed = paired
        return self._greeted(now)

    def proved(self, now: float) -> list[Want]:
        """A message with a right code came."""
        self._proved = True
        return self._greeted(now)

    def picture_told(self, shown: bool | None, why: str, now: float) -> list[Want]:
        """What became of the test picture; None: the terminal did not say."""
        if self.view.step is not Step.PICTURE:
            return []
        if shown is False:
            self.view = replace(self.view, shown=False)
            return self._ask_name(f"The test picture cannot be shown: {why}.", now)
        told = "The terminal shows a test picture." if shown else f"A test picture was sent; {why}."
        self.view = replace(self.view, shown=shown)
        return self._go(
            Step.SCANNED,
            f"{told} Scan it with a telephone: no money can be paid with it. Does it scan?",
            now,
        )

    # -- what was written ----------------------------------------------------------------------------------------

    def kept(self, now: float) -> list[Want]:
        """The keys are written down."""
        if self.view.step is not Step.KEEPING:
            return []
        steps, self._after_keeping = self._after_keeping, []
        self.view = replace(self.view, authenticated=True)
        return self._follow(steps, now)

    def not_kept(self, why: str, now: float) -> list[Want]:
        """They cannot be written."""
        if self.view.step is not Step.KEEPING:
            return []
        self._pairing = None
        text = f"The keys cannot be written down: {why}. Nothing was kept; begin again."
        return [RefusePairing(self._last_heard), *self._end(text, now)]

    def registered(
        self, pairing: int, merchants: tuple[str, ...], name: str | None, now: float
    ) -> list[Want]:
        """It is in the registry."""
        if self.view.step is not Step.REGISTERING:
            return []
        self.view = replace(self.view, pairing=pairing, merchants=merchants, name=name)
        self._welcomed = self._proved = False
        text = "It is registered. It is asked to say HELLO again; that can take some seconds."
        return [*self._go(Step.GREETING, text, now, GREETING_S), AskWho()]

    def not_registered(self, why: str, now: float) -> list[Want]:
        """The registry refuses it; the question is asked again."""
        if self.view.step is not Step.REGISTERING:
            return []
        return self._go(Step.MERCHANT, f"It cannot be registered so: {why}.", now)

    def named(self, name: str | None, now: float) -> list[Want]:
        """What people call it is written down; None: it cannot be."""
        if self.view.step is not Step.NAMING:
            return []
        if name is None:
            return self._finish(now, "Its name could not be written down.")
        self.view = replace(self.view, name=name)
        return self._finish(now)

    # -- what a person answers -----------------------------------------------------------------------------------

    def answer(self, number: int, answer: Sequence[str], now: float) -> list[Want]:
        """An answer to the question of view `number`. Raises WrongAnswerError."""
        step = self.view.step
        if number != self.view.number or step not in ASKS:
            raise WrongAnswerError("this is not asked any more")
        match step:
            case Step.MERCHANT:
                merchants = tuple(dict.fromkeys(answer))
                if not merchants:
                    raise WrongAnswerError("name at least one merchant id")
                return self._register(merchants, now)
            case Step.NAME:
                return self._named_so(" ".join(answer).strip(), now)
            case Step.SCANNED:
                scanned = None if list(answer) == ["skip"] else _yes(answer)
                self.view = replace(self.view, scanned=scanned)
                text = _NO_SCAN if scanned is False else ""
                return [ClearTest(), *self._ask_name(text, now)]
            case Step.COMPARING:
                return self._compared(_yes(answer), now)
            case Step.REPLACE:
                if not _yes(answer):
                    return self._end("Nothing was changed: the other device stays.", now)
                return self._open(now)
            case _:
                if not _yes(answer):
                    return self._end("Nothing was changed: it stays unpaired.", now)
                return self._ask_merchant("", now)

    def cancel(self, why: str, now: float) -> list[Want]:
        """Whoever pairs has gone, or has changed their mind."""
        if self.view.over:
            return []
        if self.view.step in _REGISTERED:
            return self._finish(now)
        return self._end(why, now)

    # -- time ----------------------------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When `wake` is due; None: it is over."""
        if self.view.over:
            return None
        moments = [self.view.ends_at]
        if self.view.step is Step.OPENED:
            moments.append(self._open_again_at)
        if self._pairing is not None and self._pairing.next_wake is not None:
            moments.append(self._pairing.next_wake)
        return min(moments)

    def wake(self, now: float) -> list[Want]:
        """Time has passed."""
        if self._pairing is not None and (steps := self._pairing.wake(now)):
            return self._follow(steps, now)
        if self.view.step is Step.OPENED and now >= self._open_again_at:
            assert self._opening is not None
            self._open_again_at = now + OPEN_AGAIN_S
            return [Say(self._opening)]
        if self.view.over or now < self.view.ends_at:
            return []
        match self.view.step:
            case Step.GREETING:
                return self._not_greeted(now)
            case Step.PICTURE:
                return [
                    ClearTest(),
                    *self._ask_name(
                        "The test picture takes too long: see the terminal's image formats.", now
                    ),
                ]
            case Step.SCANNED | Step.NAME | Step.NAMING:
                return self._finish(now)
            case Step.WAITING:
                return self._end(
                    f"No terminal has said HELLO on {self.port} within {WAIT_S:.0f} seconds. See that it is on and "
                    "plugged in, and its dialect and baud rate: partpay-bridge ports.",
                    now,
                )
            case Step.MERCHANT if self.view.authenticated:
                return self._end(
                    "Nobody named a merchant. The terminal has its keys, and is not registered: begin again.",
                    now,
                )
            case _:
                return self._end(f"Nobody answered within {WAIT_S:.0f} seconds: begin again.", now)

    # -- inside --------------------------------------------------------------------------------------------------

    def _found(self, hello: Hello, now: float) -> list[Want]:
        wishes = self.wishes
        if wishes.terminal_id not in (None, hello.terminal_id) or wishes.serial_number not in (
            None,
            hello.serial_number,
        ):
            self._tell(
                f"Terminal {_named(hello)} is on {self.port}; another one is waited for "
                f"({wishes.terminal_id or 'any terminal id'}, {wishes.serial_number or 'any serial number'})."
            )
            return []
        self._known = self.known(hello.terminal_id, hello.serial_number)
        self.view = replace(self.view, terminal=hello)
        if self._known.replaces is not None:
            return self._go(
                Step.REPLACE,
                f"Terminal id {hello.terminal_id} is the one of another device now, with serial number "
                f"{self._known.replaces}. This one has {hello.serial_number}. Once it is paired the other sells no "
                "more, and what that has open is told to nobody. Is this one to replace it?",
                now,
            )
        return self._open(now)

    def _open(self, now: float) -> list[Want]:
        hello = self.view.terminal
        assert hello is not None
        if hello.can_authenticate == 1:
            self._pairing = link_pairing.BridgePairing(self.share(), hello.terminal_id, now)
            return self._follow(self._pairing.open(), now)
        if self._known.keyed:
            return self._end(
                f"Terminal {_named(hello)} was paired with keys, and says now that it cannot authenticate. Somebody "
                "may be in between, or it is another device. If its firmware really has lost that: partpay-bridge "
                f"terminals forget-keys {hello.terminal_id}/{hello.serial_number}, then begin again.",
                now,
            )
        return self._go(
            Step.PLAIN,
            "It cannot authenticate: what it says is as trustworthy as its cable is. If its manual says that it can, "
            "say no. Is it to be paired without keys?",
            now,
        )

    def _follow(self, steps: Sequence[link_pairing.Step], now: float) -> list[Want]:
        wants: list[Want] = []
        for at, step in enumerate(steps):
            match step:
                case link_pairing.Send(message=PairOpen() as opening):
                    self._opening, self._open_again_at = opening, now + OPEN_AGAIN_S
                    self._go(
                        Step.OPENED,
                        "It can authenticate. Open pairing in the terminal's own menu now.",
                        now,
                        link_pairing.PAIRING_TIME_S,
                    )
                    wants.append(Say(opening))
                case link_pairing.Send(message=message):
                    if isinstance(message, PairDone):
                        self._done, self._done_until = message, now + link_pairing.PAIRING_TIME_S
                    wants.append(Say(message))
                case link_pairing.Refuse(refused=refused):
                    wants.append(RefusePairing(refused))
                case link_pairing.Compare(digits=digits):
                    self.view = replace(self.view, digits=digits)
                    left = self.view.ends_at - now
                    self._go(
                        Step.COMPARING,
                        "Both ends show six digits. Does the terminal show the same?",
                        now,
                        left,
                    )
                case link_pairing.Keep(keys=keys):
                    self._keys = keys
                    self._after_keeping = list(steps[at + 1 :])
                    self._go(Step.KEEPING, "Both have said yes.", now)
                    return [*wants, KeepKeys(keys)]
                case link_pairing.Ended(why=link_pairing.End.PAIRED):
                    wants += self._ask_merchant("The terminal and the bridge have their keys.", now)
                case link_pairing.Ended(why=why):
                    wants += self._end(_why(why), now)
        return wants

    def _compared(self, yes: bool, now: float) -> list[Want]:
        assert self._pairing is not None
        steps = self._pairing.person_says(yes)
        if yes and not steps:
            left = self.view.ends_at - now
            return self._go(Step.CONFIRMED, "Now say yes on the terminal, too.", now, left)
        return self._follow(steps, now)

    def _ask_merchant(self, text: str, now: float) -> list[Want]:
        known = self._known
        self.view = replace(
            self.view, merchants=known.merchants, pairing=known.pairing, name=known.name
        )
        if self.wishes.merchants:
            return self._register(self.wishes.merchants, now)
        return self._go(Step.MERCHANT, f"{text} Which merchant does it sell for?".strip(), now)

    def _register(self, merchants: tuple[str, ...], now: float) -> list[Want]:
        return [*self._go(Step.REGISTERING, "It is being registered.", now), Register(merchants)]

    def _greeted(self, now: float) -> list[Want]:
        if self.view.step is not Step.GREETING or not self._welcomed:
            return []
        if self.view.authenticated and not self._proved:
            return []
        if not self.wishes.test:
            return self._ask_name("The terminal is ready.", now)
        return [
            *self._go(
                Step.PICTURE, "The terminal is ready. A test picture is on its way.", now, PICTURE_S
            ),
            ShowTest(),
        ]

    def _not_greeted(self, now: float) -> list[Want]:
        if self.view.authenticated and not self._proved:
            text = (
                "It is registered, but has not used its keys yet. If it says that it is not paired, it has not got "
                "them: begin again."
            )
        else:
            text = "It is registered, but has not said HELLO since. Unplug it and plug it in again."
        return self._ask_name(text, now)

    def _ask_name(self, text: str, now: float) -> list[Want]:
        if self.wishes.name is not None:
            return self._finish(now, text)
        question = "Who faces this panel, and where does it stand? For example: customers, till 2."
        if self.view.name is not None:
            question += f" (So far: {self.view.name}. No answer leaves it so.)"
        return self._go(Step.NAME, f"{text} {question}".strip(), now)

    def _named_so(self, name: str, now: float) -> list[Want]:
        if not name:
            return self._finish(now)
        return [*self._go(Step.NAMING, "", now), SetName(name)]

    def _finish(self, now: float, text: str = "") -> list[Want]:
        wants: list[Want] = []
        if self.view.step in (Step.PICTURE, Step.SCANNED):
            wants.append(ClearTest())
        hello = self.view.terminal
        assert hello is not None
        how = "with keys" if self.view.authenticated else "without keys"
        self._go(Step.DONE, f"{text} Terminal {_named(hello)} is paired {how}.".strip(), now)
        return wants

    def _end(self, text: str, now: float) -> list[Want]:
        wants: list[Want] = []
        if self._pairing is not None and not self._pairing.over:
            for step in self._pairing.person_says(False):
                if isinstance(step, link_pairing.Refuse):
                    wants.append(RefusePairing(step.refused))
        self._go(Step.ENDED, text, now)
        return wants

    def _lost_done(self, hello: Hello, now: float) -> bool:
        """It says HELLO without the keys that it confirmed: PAIR_DONE has not come."""
        if self._done is None or self._keys is None or now >= self._done_until:
            return False
        return hello.key_id != self._keys.identifier

    def _go(self, step: Step, text: str, now: float, limit_s: float = WAIT_S) -> list[Want]:
        number = self.view.number + 1
        self.view = replace(self.view, step=step, ends_at=now + limit_s, number=number, text=text)
        return []

    def _tell(self, text: str) -> None:
        """More about the same step; what was said already is not said again."""
        if text != self.view.text:
            self.view = replace(self.view, number=self.view.number + 1, text=text)


_NO_SCAN: Final = (
    "It does not scan. See that the panel is clean, and not mirrored or inverted; a profile can set its formats "
    "right: partpay-bridge profiles list."
)


def _yes(answer: Sequence[str]) -> bool:
    if list(answer) not in (["yes"], ["no"]):
        raise WrongAnswerError("answer yes or no")
    return list(answer) == ["yes"]


def _named(hello: Hello) -> str:
    return f"{hello.terminal_id}, serial number {hello.serial_number}"


def _why(why: link_pairing.End) -> str:
    match why:
        case link_pairing.End.OWN_NO:
            return (
                "You said that the digits differ. Nothing was kept. If they did differ, somebody may be between the "
                "terminal and this machine: look at the cable from end to end before you begin again."
            )
        case link_pairing.End.CONFIRMATION_WRONG | link_pairing.End.KEY_CHANGED:
            return (
                f"Pairing broke off: {why.value}. Nothing was kept. Look at the cable from end to end before you "
                "begin again."
            )
        case link_pairing.End.TIME_OVER:
            return (
                "Nobody was done within 120 seconds: open pairing in the terminal's own menu, compare, say yes at "
                "both ends. Nothing was kept; begin again."
            )
        case _:
            return f"Pairing broke off: {why.value}. Nothing was kept; begin again."

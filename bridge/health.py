"""What is wrong just now, as data.

- A condition is a row of `KINDS`: its code, how bad it is, what it depends on, how long it must
  last until it shows, and what a person reads. Whoever notices it says `begin` and `end`; nobody
  composes texts elsewhere.
- Causes hide consequences: while the line is closed, nobody is told that its terminal is silent.
- Flaps stay quiet: what ends before its time has never shown.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """DEGRADED: sales go on, and somebody should look. FAILING: sales fail; `/healthz` says 503."""

    DEGRADED = "degraded"
    FAILING = "failing"


class Status(StrEnum):
    """The worst of what shows."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be wrong.

    depends_on: codes that hide this one while they last, for the same subject or for everything.
    show_after_s: how long it lasts until it shows. text: with {subject} and {detail}.
    """

    code: str
    severity: Severity
    text: str
    show_after_s: float = 0.0
    depends_on: tuple[str, ...] = ()


_EVERY: Final = (
    Kind("starting", Severity.FAILING, "The bridge is starting."),
    Kind(
        "journal-unwritable",
        Severity.FAILING,
        "The journal cannot be written ({detail}). No sale is taken. Free or mend the disk; "
        "the bridge goes on by itself.",
    ),
    Kind(
        "disk-low",
        Severity.FAILING,
        "The disk is nearly full ({detail}). No new sale is taken. Free some of it.",
        depends_on=("journal-unwritable",),
    ),
    Kind(
        "partpay-unreachable",
        Severity.FAILING,
        "PartPay cannot be reached ({detail}). Check the shop's internet connection.",
        show_after_s=30.0,
    ),
    Kind(
        "secret-unusable",
        Severity.FAILING,
        "A secret's file cannot be used: {subject} {detail}",
    ),
    Kind(
        "token-refused",
        Severity.FAILING,
        "PartPay gives no access token for client {subject} ({detail}). Check client id and secret.",
        show_after_s=10.0,
        depends_on=("partpay-unreachable", "secret-unusable"),
    ),
    Kind(
        "merchant-refused",
        Severity.DEGRADED,
        "PartPay does not allow calls for merchant {subject} ({detail}). Ask PartPay about it.",
        show_after_s=10.0,
        depends_on=("partpay-unreachable", "token-refused"),
    ),
    Kind(
        "line-closed",
        Severity.DEGRADED,
        "Port {subject} cannot be opened ({detail}). Check its cable.",
        show_after_s=10.0,
    ),
    Kind(
        "terminal-silent",
        Severity.DEGRADED,
        "No terminal answers on port {subject}. Check that it is switched on, and its dialect "
        "and baud rate.",
        show_after_s=60.0,
        depends_on=("line-closed",),
    ),
    Kind(
        "terminal-not-paired",
        Severity.DEGRADED,
        "Terminal {detail} on port {subject} is not paired. Pair it, or unplug it.",
        depends_on=("line-closed",),
    ),
    Kind(
        "display-failed",
        Severity.DEGRADED,
        "A display cannot show ({detail}). Sales go on where the terminal's own panel shows the code.",
    ),
    Kind(
        "listener-down",
        Severity.DEGRADED,
        "Callbacks cannot come in ({detail}). Outcomes come by polling, some seconds later.",
    ),
    Kind(
        "callbacks-refused",
        Severity.DEGRADED,
        "Callbacks come whose signature is not right. Check callback_key_file with PartPay.",
    ),
    Kind(
        "reversal-overdue",
        Severity.DEGRADED,
        "Money that was taken for {detail} failed sales is not yet given back. See: tenders "
        "attention.",
        show_after_s=900.0,
        depends_on=("partpay-unreachable", "token-refused"),
    ),
    Kind(
        "outcome-unstored",
        Severity.DEGRADED,
        "{detail} outcomes wait for their terminals. See: tenders attention.",
    ),
    Kind(
        "attention",
        Severity.DEGRADED,
        "{detail} sales need a person. See: tenders attention.",
    ),
    Kind(
        "tender-frozen",
        Severity.DEGRADED,
        "Sale {subject} could not be decided ({detail}), and is left as it is. Ask for support.",
    ),
    Kind(
        "clock-wrong",
        Severity.DEGRADED,
        "This machine's clock is {detail} off PartPay's. Set up its time service.",
        show_after_s=60.0,
    ),
)

KINDS: Final = {kind.code: kind for kind in _EVERY}


@dataclass(frozen=True, slots=True)
class Shown:
    """A condition that shows. for_s: how long it has lasted."""

    code: str
    severity: Severity
    subject: str
    text: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that shows, the worst and oldest first."""

    status: Status
    conditions: tuple[Shown, ...]


class Health:
    """What lasts just now. Any thread may call any method. `now`: monotonic seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lasting: dict[tuple[str, str], tuple[float, str]] = {}

    def begin(self, code: str, subject: str = "", detail: str = "") -> None:
        """The condition lasts from now on; said again, it only has another detail.

        subject: which port, merchant, file or sale; "" where there is only one.
        """
        key = (KINDS[code].code, subject)
        with self._lock:
            since, _ = self._lasting.get(key, (self._now(), ""))
            self._lasting[key] = (since, detail)

    def end(self, code: str, subject: str = "") -> None:
        """The condition is over, if it lasted."""
        key = (KINDS[code].code, subject)
        with self._lock:
            self._lasting.pop(key, None)

    def put(self, code: str, wrong: bool, subject: str = "", detail: str = "") -> None:
        """`begin` where it is wrong, else `end`."""
        if wrong:
            self.begin(code, subject, detail)
        else:
            self.end(code, subject)

    def report(self) -> Report:
        now = self._now()
        with self._lock:
            lasting = dict(self._lasting)
        shown = [
            Shown(
                code,
                KINDS[code].severity,
                subject,
                KINDS[code].text.format(subject=subject, detail=detail),
                now - since,
            )
            for (code, subject), (since, detail) in lasting.items()
            if now - since >= KINDS[code].show_after_s and not _hidden(code, subject, lasting)
        ]
        shown.sort(key=lambda one: (one.severity is not Severity.FAILING, -one.for_s, one.code))
        if not shown:
            return Report(Status.OK, ())
        return Report(Status(shown[0].severity.value), tuple(shown))


def _hidden(code: str, subject: str, lasting: dict[tuple[str, str], tuple[float, str]]) -> bool:
    causes = set(KINDS[code].depends_on)
    return any(
        cause in causes and (not subject or not about or subject == about)
        for cause, about in lasting
    )

"""How a command gets its answer: from the daemon, or, where none runs, under the state lock.

A command that runs as root goes on as the owner of state_dir, once the configuration is read.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bridge.cli.command import config_file
from bridge.config import Settings, load
from bridge.control import Answer, CommandError, Facts, Handler, Reader, Request, Rows, Status
from bridge.control_socket import NoDaemonError, ask, this_user
from bridge.registry import FILE_NAME, Registry, Who
from bridge.state_dir import StateDir, StateDirBusyError, become_owner

if TYPE_CHECKING:
    from bridge.alone import Alone
    from bridge.pairing_desk import PairingDesk
    from bridge.technician import TechnicianAlone

DAEMON_WAIT_S: Final = 5.0
"""A daemon that has just taken the lock has its socket by then."""
DAEMON_PAUSE_S: Final = 0.1


@contextmanager
def answering(request: Request) -> Iterator[Answer]:
    """The answer, as long as it is read within the `with`. Raises what `main` tells of."""
    with talking(request) as (answer, _):
        yield answer


@contextmanager
def talking(request: Request) -> Iterator[tuple[Answer, Callable[[Request], Answer]]]:
    """The answer, and a way to ask the same one more meanwhile, from any thread."""
    who = this_user()
    settings = load(config_file())
    become_owner(settings.bridge.state_dir, load_everything)
    deadline = time.monotonic() + DAEMON_WAIT_S
    while True:
        try:
            answer = ask(settings.control.socket, request, who)
        except NoDaemonError:
            answer = None
        if answer is not None:

            def ask_more(more: Request) -> Answer:
                try:
                    return ask(settings.control.socket, more, who)
                except NoDaemonError:
                    raise CommandError(
                        1,
                        "the daemon has ended meanwhile",
                        "start it: systemctl start partpay-bridge; then begin again",
                    ) from None

            yield answer, ask_more
            return
        if isinstance(request, Status):
            raise CommandError(
                1,
                f"the daemon is not running: nobody answers at {settings.control.socket}",
                "start it: systemctl start partpay-bridge",
            )
        try:
            state = StateDir.locked(settings.bridge.state_dir, "a command")
        except StateDirBusyError as busy:
            if busy.by_daemon and time.monotonic() < deadline:
                time.sleep(DAEMON_PAUSE_S)
                continue
            if busy.by_daemon:
                raise CommandError(
                    1,
                    f"{busy.path} is {busy.what}, which does not answer at {settings.control.socket}",
                    "use the daemon's own configuration, or see its log",
                ) from None
            raise
        with state, _handler(settings, who) as handler:
            yield handler(request, who), lambda more: handler(more, who)
            return


def load_everything() -> None:
    """What commands load when they need it, all at once."""
    for module in (
        "bridge.alone",
        "bridge.audit",
        "bridge.daemon",
        "bridge.inquiry",
        "bridge.journal.reader",
        "bridge.ports",
        "bridge.technician",
        "drivers.asking",
        "drivers.discovery",
        "drivers.line.serial",
        "drivers.profiles",
        "rich.console",
        "rich.table",
    ):
        import_module(module)


def facts(request: Request) -> Any:
    """The one value that answers it."""
    with answering(request) as answer:
        assert isinstance(answer, Facts)
        return answer.value


@contextmanager
def rows(request: Request) -> Iterator[Iterator[dict[str, Any]]]:
    """The list that answers it, as it comes."""
    with answering(request) as answer:
        assert isinstance(answer, Rows)
        yield (dict(row) for row in answer.rows)


def journal_file(settings: Settings) -> Path:
    """The journal. Raises `CommandError` where there is none yet."""
    from bridge.daemon import JOURNAL_FILE  # noqa: PLC0415 (the whole daemon)

    path = settings.bridge.state_dir / JOURNAL_FILE
    if not path.exists():
        raise CommandError(1, f"there is no journal yet at {path}", "run the daemon first")
    return path


@contextmanager
def _handler(settings: Settings, who: Who) -> Iterator[Handler]:
    from drivers.link.dialect import DIALECTS  # noqa: PLC0415 (a daemon that answers has it)

    with (
        Registry(
            settings.bridge.state_dir / FILE_NAME,
            settings.partpay.environment.value,
            dialects=tuple(DIALECTS),
        ) as registry,
        ExitStack() as stack,
    ):
        offline = _Offline(settings, registry, who, stack)
        yield Handler(
            registry,
            offline.reader,
            offline,
            inquiry=offline,
            pairing=offline.pairing_desk,
            technician=offline.workbench,
        )


class _Offline:
    """The journal, in the hands of a command that holds the state lock. Opened when it is needed."""

    def __init__(self, settings: Settings, registry: Registry, who: Who, stack: ExitStack) -> None:
        self._settings = settings
        self._registry = registry
        self._who = who
        self._stack = stack
        self._alone: Alone | None = None

    def reader(self) -> Reader:
        from bridge.journal.reader import JournalReader  # noqa: PLC0415 (few commands)

        return JournalReader(journal_file(self._settings))

    def pairing_desk(self) -> "PairingDesk":
        """Lines of this command's own, until it ends."""
        from bridge.alone import Alone  # noqa: PLC0415 (the whole daemon, and one command)
        from bridge.daemon import open_journal, rules_of  # noqa: PLC0415
        from bridge.journal.journal import WrongJournal  # noqa: PLC0415

        if self._alone is None:
            settings = self._settings
            try:
                journal = self._stack.enter_context(closing(open_journal(settings)))
            except WrongJournal as error:
                raise CommandError(2, str(error), "") from None
            zone = settings.bridge.zone
            self._alone = self._stack.enter_context(
                Alone(
                    self._registry,
                    journal,
                    rules_of(settings).prefix,
                    lambda: datetime.now(zone),
                    self._who,
                )
            )
        return self._alone.desk

    def workbench(self) -> "TechnicianAlone":
        from bridge.technician import TechnicianAlone  # noqa: PLC0415 (few commands)

        return TechnicianAlone(self._settings, self._registry)

    def explain(self, pairing: int, counter: int) -> Mapping[str, Any]:
        from bridge.inquiry import JournalInquiry  # noqa: PLC0415 (few commands)

        journal = journal_file(self._settings)
        return JournalInquiry(journal, self._settings.bridge.currency).explain(pairing, counter)

    def acknowledge(self, entry: int | None, who: str) -> int:
        from bridge.daemon import open_journal  # noqa: PLC0415 (the whole daemon)

        with closing(open_journal(self._settings)) as journal:
            journal.begin()
            count = journal.acknowledge(entry, who)
            journal.write("acknowledged", {"who": who, "entry": entry or 0, "count": count}, None)
            journal.commit()
        return count

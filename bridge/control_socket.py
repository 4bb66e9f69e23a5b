"""The control socket: requests of `control.py` between a command and the daemon.

- One JSON object a line: a request, then rows, then one line that says "done" or "refused".
- Whoever can connect may do everything: the socket is its owner's alone.
- Every wait has a limit, and there are only so many connections: a command that hangs holds up no
  other.
"""

import json
import os
import pwd
import socket
import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import NoneType, TracebackType, UnionType
from typing import Any, Final, Self, get_args, get_origin, get_type_hints

from bridge.control import BY_NAME, Answer, CommandError, Facts, Request, Rows
from bridge.log import Log
from bridge.registry import Who

REQUEST_MAX_BYTES: Final = 4 << 20
"""An import of ten thousand merchants."""
CONNECTIONS_MAX: Final = 16
PATIENCE_S: Final = 30.0
"""How long one end waits for the other to read or write."""
ROWS_AT_ONCE: Final = 100
STOP_LOOK_S: Final = 0.5
"""How often it is looked whether to stop, while there is no room."""


class NoDaemonError(Exception):
    """Nobody answers at the socket."""


def encode(request: Request, who: Who) -> bytes:
    """The line that asks."""
    told = {"request": type(request).__name__, "who": asdict(who), "with": asdict(request)}
    return json.dumps(told).encode() + b"\n"


def decode(line: bytes) -> tuple[Request, Who]:
    """What a line asks. Raises `CommandError` where it is no request of this release."""
    try:
        told = json.loads(line)
        kind = BY_NAME[told["request"]]
        return _made(kind, told["with"]), _made(Who, told["who"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CommandError(
            1,
            f"the daemon does not understand this command ({type(error).__name__}: {error})",
            "use the command of the daemon's release, or restart the daemon",
        ) from None


def _made(kind: Any, told: Any) -> Any:
    """`told` as a value of that type. Raises TypeError, KeyError."""
    if get_origin(kind) is UnionType:
        for one in get_args(kind):
            with suppress(TypeError):
                return _made(one, told)
        raise TypeError(f"{told!r} is no {kind}")
    if get_origin(kind) is tuple:
        if not isinstance(told, list):
            raise TypeError(f"{told!r} is no list")
        return tuple(_made(get_args(kind)[0], one) for one in told)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        if not isinstance(told, dict):
            raise TypeError(f"{told!r} is no {kind.__name__}")
        return kind(**{name: _made(hints[name], value) for name, value in told.items()})
    if kind is NoneType and told is None:
        return None
    if type(told) is kind:
        return told
    raise TypeError(f"{told!r} is no {kind}")


class CannotServeError(Exception):
    """The socket cannot be had."""


class ControlServer:
    """Answers at the socket, in threads of its own, until it is stopped. A context manager."""

    def __init__(self, path: Path, handler: Callable[[Request, Who], Answer], log: Log) -> None:
        """Takes the socket's path; nobody else may have a daemon there. Raises `CannotServeError`."""
        self._path = path
        self._handler = handler
        self._log = log
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._stopping = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            if _answers(path):
                raise CannotServeError(
                    f"[control] socket {path} is another daemon's; end that, or name another socket"
                )
            if path.exists() and not path.is_socket():
                raise CannotServeError(f"[control] socket {path} is no socket; name another path")
            path.unlink(missing_ok=True)
            self._socket.bind(os.fspath(path))
            # Between bind and listen nobody can connect.
            path.chmod(0o600)
            self._socket.listen(CONNECTIONS_MAX)
        except OSError as error:
            self._socket.close()
            raise CannotServeError(
                f"[control] socket {path} cannot be had: {error.strerror}; "
                "make its directory this user's, or name another"
            ) from error
        except CannotServeError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._accept, name="control", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Takes no more requests. Those that are being answered go on."""
        if self._stopping:
            return
        self._stopping = True
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(1.0)
        self._socket.close()

    def _accept(self) -> None:
        while not self._stopping:
            # Who finds no room waits in the kernel's queue: a refusal could cross with the
            # question.
            if not self._room.acquire(timeout=STOP_LOOK_S):
                continue
            try:
                connection, _ = self._socket.accept()
            except OSError:
                self._room.release()
                if self._stopping:
                    return
                self._log.error("control-broke", text="the control socket cannot be read")
                threading.Event().wait(1.0)
                continue
            connection.settimeout(PATIENCE_S)
            threading.Thread(
                target=self._serve, args=(connection,), name="command", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except OSError:
            pass  # the command has gone
        finally:
            self._room.release()

    def _converse(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as reading:
            line = reading.readline(REQUEST_MAX_BYTES + 1)
        try:
            if not line.endswith(b"\n"):
                raise CommandError(1, "the request is cut off or too large", "ask for less at once")
            request, claimed = decode(line)
            who = _believed(claimed, connection)
            match self._handler(request, who):
                case Facts(value=value):
                    last = value
                case Rows(rows=rows, live=live):
                    last = None
                    # A reader who has gone is noticed by a write, and ends what the rows come from.
                    with _closing(rows):
                        for batch in _batches(rows, 1 if live else ROWS_AT_ONCE):
                            connection.sendall(batch)
            connection.sendall(json.dumps({"done": last}).encode() + b"\n")
        except CommandError as error:
            connection.sendall(_refusal(error))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 (a command's fault is the command's, not the daemon's)
            self._log.error("command-broke", error=repr(error))
            what = f"the daemon could not do it: {type(error).__name__}: {error}"
            connection.sendall(_refusal(CommandError(1, what, "see its log")))


def ask(path: Path, request: Request, who: Who, *, patience_s: float = 2 * PATIENCE_S) -> Answer:
    """Asks the daemon at that socket.

    Raises `NoDaemonError` where none is, `CommandError` for what it refuses; `Rows` raise it while
    they are read.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(patience_s)
        connection.connect(os.fspath(path))
        connection.sendall(encode(request, who))
        lines = _lines(connection)
        first = next(lines)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        connection.close()
        raise NoDaemonError(str(path)) from error
    except PermissionError as error:
        connection.close()
        raise CommandError(
            1,
            f"user {os.geteuid()} may not ask the daemon at {path}",
            "run as root, or as its user",
        ) from error
    except OSError as error:
        connection.close()
        raise CommandError(
            1, f"the daemon at {path} does not answer: {error}", "see its log"
        ) from error
    except BaseException:
        connection.close()
        raise
    if "done" in first and first["done"] is not None:
        connection.close()
        return Facts(first["done"])
    return Rows(_rows(connection, first, lines))


def _rows(
    connection: socket.socket, first: dict[str, Any], lines: Iterator[dict[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    with connection:
        told = first
        while "row" in told:
            yield told["row"]
            told = next(lines)


def _lines(connection: socket.socket) -> Iterator[dict[str, Any]]:
    """What the daemon says, line by line. Raises `CommandError` for a refusal, and for an end
    without a last word.
    """
    with connection.makefile("rb") as reading:
        for line in reading:
            told = json.loads(line)
            if "refused" in told:
                refused = told["refused"]
                raise CommandError(refused["exit_status"], refused["what"], refused["remedy"])
            yield told
    raise CommandError(1, "the daemon ended in the middle of its answer", "ask again")


@contextmanager
def _closing(rows: Iterable[Mapping[str, Any]]) -> Iterator[None]:
    try:
        yield
    finally:
        if isinstance(rows, Generator):
            rows.close()


def _batches(rows: Iterable[Mapping[str, Any]], at_once: int) -> Iterator[bytes]:
    """Lines of rows, some at once: one write for each would cost more than the rows do."""
    batch: list[bytes] = []
    for row in rows:
        batch.append(json.dumps({"row": dict(row)}).encode())
        if len(batch) == at_once:
            yield b"\n".join([*batch, b""])
            batch.clear()
    if batch:
        yield b"\n".join([*batch, b""])


def _refusal(error: CommandError) -> bytes:
    told = {"exit_status": error.exit_status, "what": error.what, "remedy": error.remedy}
    return json.dumps({"refused": told}).encode() + b"\n"


def _answers(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as trial:
        try:
            trial.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True


def _believed(claimed: Who, connection: socket.socket) -> Who:
    """Who asks: what root and our own user say; of anybody else, what the kernel says."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, uid, _ = struct.unpack("3i", credentials)
    return claimed if uid in {0, os.geteuid()} else Who(user_name(uid), uid)


def user_name(uid: int) -> str:
    """That user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def this_user(environ: Mapping[str, str] = os.environ) -> Who:
    """The person at the keyboard, through sudo and su too: asked before privileges are given up."""
    with suppress(OSError, ValueError):
        login = int(Path("/proc/self/loginuid").read_text())
        if login != 0xFFFFFFFF:
            return Who(user_name(login), login)
    uid = os.getuid()
    if uid == 0 and environ.get("SUDO_UID", "").isdigit():
        uid = int(environ["SUDO_UID"])
    return Who(user_name(uid), uid)

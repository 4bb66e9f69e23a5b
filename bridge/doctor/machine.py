"""Checks of this machine: configuration, secrets, state directory, daemons, service, disk and journal."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from bridge.doctor.finding import Said, note, ok, unknown, wrong
from bridge.doctor.patient import Patient
from bridge.engine import ROOM_MIN_BYTES
from bridge.registry import FILE_NAME
from bridge.secrets_files import Secret, SecretError
from bridge.state_dir import LOCK_FILE

NEARLY_FULL_BYTES: Final = 4 * ROOM_MIN_BYTES
"""Some days of sales and logs before no sale is taken any more."""
FILES_MIN: Final = 1000
"""Room for new files, where the file system counts them."""
AUDIT_MAX_EVENTS: Final = 50_000
"""A journal of more is not read event by event: that is what `audit` is for."""
PROGRAM: Final = "partpay-bridge"

_MAKE_ROOM: Final = "journalctl --vacuum-size=200M; du -xm / 2>/dev/null | sort -n | tail -20"


def configuration(patient: Patient) -> Iterator[Said]:
    """That it can be read and used."""
    for problem in patient.problems:
        place = str(problem.file) if problem.line is None else f"{problem.file}:{problem.line}"
        looked_at = f"{place}, {problem.key}" if problem.key else place
        yield wrong(looked_at, problem.what, problem.remedy)
    if not patient.problems:
        yield ok(str(patient.file), "it can be used")
    for remark in patient.notes:
        if remark.key != "partpay.callback_url":  # the callback's own check says it
            yield note(f"{remark.file}, {remark.key}", remark.what, remark.remedy)


def secrets(patient: Patient) -> Iterator[Said]:
    """That each secret is there, and is its reader's alone."""
    if patient.settings is None:
        return
    partpay = patient.settings.partpay
    files: dict[Path, tuple[str, bool]] = {}
    if partpay.client_secret is not None:
        files[partpay.client_secret.path] = ("the client secret", False)
    if partpay.callback_key is not None:
        files[partpay.callback_key.path] = ("the callback keys", True)
    for merchant in patient.merchants:
        if merchant.retired:
            continue
        whose = f"of merchant {merchant.merchant_id}"
        if merchant.client_secret_file is not None:
            files.setdefault(Path(merchant.client_secret_file), (f"the secret {whose}", False))
        if merchant.callback_key_file is not None:
            files.setdefault(Path(merchant.callback_key_file), (f"the callback keys {whose}", True))
    exempt = {
        secret.path
        for secret in (partpay.client_secret, partpay.callback_key)
        if secret is not None and secret.exempt
    }
    for path, (what, keys) in files.items():
        secret = Secret(path, path in exempt)
        try:
            if keys:
                secret.read_keys()
            else:
                secret.read()
        except SecretError as error:
            yield wrong(f"{path}, {what}", error.what, error.remedy)
        else:
            yield ok(f"{path}, {what}", "it can be read, by its owner alone")


def state_directory(patient: Patient) -> Iterator[Said]:
    """That it is there, and the daemon's alone; and who has it."""
    if patient.settings is None:
        return
    path = patient.settings.bridge.state_dir
    try:
        about = path.stat()
    except FileNotFoundError:
        yield note(str(path), "it is not there yet; the daemon makes it at its first start")
        return
    except OSError as error:
        yield wrong(str(path), f"it cannot be looked at: {error.strerror}", "run this as root")
        return
    if about.st_mode & 0o022:
        yield wrong(
            str(path),
            f"others can change it (mode {about.st_mode & 0o777:04o})",
            f"chmod go-w {path}",
        )
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(str(path), f"user {os.geteuid()} cannot use it", "run this as root")
    else:
        yield ok(str(path), "it is its owner's alone")
    holder = _holder(path)
    if holder is not None and not patient.running:
        yield wrong(
            f"{path / LOCK_FILE}",
            f"process {holder} has it, and does not answer at {patient.settings.control.socket}",
            f"use that daemon's own configuration (--config), or end it: kill {holder}",
        )


def _holder(path: Path) -> int | None:
    """The process that has the lock, where it lives and is no command like this one."""
    with suppress(OSError, ValueError, AttributeError):
        told = json.loads((path / LOCK_FILE).read_text())
        pid = told.get("pid")
        if (
            isinstance(pid, int)
            and told.get("name") == "the daemon"
            and Path(f"/proc/{pid}").exists()
        ):
            return pid
    return None


def daemon(patient: Patient) -> Iterator[Said]:
    """That it runs, in this release, and what it says is wrong."""
    if patient.settings is None:
        return
    looked_at = str(patient.settings.control.socket)
    status = patient.status
    if status is None:
        yield wrong(looked_at, "no daemon answers: no sale is taken", f"systemctl start {PROGRAM}")
        return
    if patient.version and status["version"] != patient.version:
        yield wrong(
            looked_at,
            f"the daemon is of release {status['version']}, this program of {patient.version}",
            f"systemctl restart {PROGRAM}",
        )
    else:
        yield ok(looked_at, f"process {status['pid']} runs, release {status['version']}")
    for shown in status["conditions"]:
        remedy = _REMEDIES.get(shown["code"], "partpay-bridge status")
        yield wrong(f"the daemon's health, {shown['code']}", shown["text"], remedy)
    if not status["conditions"]:
        yield ok("the daemon's health", "nothing is wrong")


_REMEDIES: Final = {
    "attention": "partpay-bridge tenders attention",
    "outcome-unstored": "partpay-bridge tenders list --open",
    "reversal-overdue": "partpay-bridge tenders list --open",
    "terminal-not-paired": "partpay-bridge pair",
    "clock-wrong": "timedatectl set-ntp true",
    "journal-unwritable": _MAKE_ROOM,
    "disk-low": _MAKE_ROOM,
}
"""What to do about a condition, where it is one command; else `status` says more."""


def other_daemons(patient: Patient) -> Iterator[Said]:
    """That there is one only: two of them would take each other's ports."""
    looked_at = "every process of this machine"
    if len(patient.daemons) > 1:
        own = patient.status["pid"] if patient.status is not None else None
        listed = "; ".join(f"process {pid}: {words}" for pid, words in patient.daemons)
        others = [pid for pid, _ in patient.daemons if pid != own]
        remedy = f"end what is not the service's: kill {' '.join(map(str, others))}"
        yield wrong(looked_at, f"{len(patient.daemons)} daemons run: {listed}", remedy)
    else:
        yield ok(looked_at, "one daemon runs" if patient.daemons else "no second daemon runs")


def daemons_in(root: Path) -> list[tuple[int, str]]:
    """The daemons that run, by process: how each was called."""
    found = []
    for process in sorted((root / "proc").iterdir(), key=lambda entry: entry.name.zfill(9)):
        if not process.name.isdecimal():
            continue
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name.startswith("python"):
                del words[0]
                while words and words[0].startswith("-"):
                    del words[0]  # the package's own is called with -I
            if words and Path(words[0]).name == PROGRAM and "run" in words[1:]:
                found.append((int(process.name), " ".join(filter(None, words))))
    return found


def service(patient: Patient) -> Iterator[Said]:
    """That its unit and rules are this release's, and start this program."""
    known = patient.service
    if known is None:
        return
    there = [file for file in known.unit_files if _below(patient.root, file).is_file()]
    if not there:
        places = ", ".join(str(file.parent) for file in known.unit_files)
        yield note(places, "no service is installed", f"{PROGRAM} install-service")
        return
    unit, *shadowed = there
    text = _below(patient.root, unit).read_text(errors="replace")
    renew = f"{PROGRAM} install-service"
    if shadowed:
        renew = f"rm {unit} && systemctl daemon-reload && systemctl restart {PROGRAM}"
    if _plain(text) != _plain(known.unit):
        what = "hides the package's own" if shadowed else "is not this release's"
        changed = ", ".join(sorted(_plain(text) ^ _plain(known.unit))[:3])
        found = f"this unit {what} ({changed} …)"
        yield wrong(str(unit), found, f"{renew}   # what you changed belongs into: systemctl edit")
    else:
        yield ok(str(unit), "it is this release's")
    program = re.search(r"(?m)^ExecStart=(\S+)", text)
    if program is None or not _below(patient.root, Path(program[1])).exists():
        yield wrong(
            str(unit),
            f"it starts {program[1] if program else 'nothing'}, which is not there",
            renew,
        )
    yield from _rules(patient, renew)


def _rules(patient: Patient, renew: str) -> Iterator[Said]:
    assert patient.service is not None
    known = patient.service
    there = [file for file in known.rules_files if _below(patient.root, file).is_file()]
    if not there:
        found = "the udev rules are not installed: ports may have other groups, and ModemManager looks at them"
        yield wrong(str(known.rules_files[0].parent), found, renew)
    elif _plain(_below(patient.root, there[0]).read_text(errors="replace")) != _plain(known.rules):
        yield wrong(str(there[0]), "these udev rules are not this release's", renew)
    else:
        yield ok(str(there[0]), "they are this release's")


def _below(root: Path, file: Path) -> Path:
    return root / file.relative_to("/")


def _plain(text: str) -> frozenset[str]:
    """A unit's lines that do not differ from one installation to the next."""
    lines = (line.strip() for line in text.splitlines())
    return frozenset(
        line
        for line in lines
        if line and not line.startswith(("#", "ExecStart=", "BindReadOnlyPaths="))
    )


def disk(patient: Patient) -> Iterator[Said]:
    """That there is room for sales, and for what they leave."""
    if patient.settings is None:
        return
    path = patient.settings.bridge.state_dir
    while not path.exists() and path != path.parent:
        path = path.parent
    free = shutil.disk_usage(path).free
    about = os.statvfs(path)
    found = f"{free >> 20} MiB free"
    if free < ROOM_MIN_BYTES:
        yield wrong(
            str(path), f"{found}: no new sale is taken below {ROOM_MIN_BYTES >> 20}", _MAKE_ROOM
        )
    elif free < NEARLY_FULL_BYTES:
        yield wrong(str(path), f"{found}: it is nearly full", _MAKE_ROOM)
    elif about.f_files and about.f_favail < FILES_MIN:
        yield wrong(
            str(path), f"room for {about.f_favail} more files: it is nearly full", _MAKE_ROOM
        )
    else:
        yield ok(str(path), found)


def journal(patient: Patient) -> Iterator[Said]:
    """That it is whole, of this environment, and that what always holds did hold."""
    if patient.settings is None:
        return
    path = patient.settings.bridge.state_dir / "journal.db"
    if not path.exists():
        yield note(str(path), "there is no journal yet; the daemon begins one at its first start")
        return
    copy = f"cp -a {path.parent} {path.parent}.damaged"
    remedy = f"systemctl stop {PROGRAM} && {copy}   # then call support: a damaged journal is not mended by hand"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as db:
            db.execute("PRAGMA query_only=1")
            told = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)")]
            events = int(db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])
    except sqlite3.Error as error:
        yield wrong(str(path), f"it cannot be read: {error}", remedy)
        return
    if told != ["ok"]:
        yield wrong(str(path), f"it is damaged: {'; '.join(told)}", remedy)
        return
    yield ok(str(path), f"whole, {events} events")
    if events > AUDIT_MAX_EVENTS:
        yield note(f"{path}, event by event", "too long to read here", f"{PROGRAM} audit")
        return
    from bridge.audit import audit  # noqa: PLC0415 - only here

    found = audit(path)
    if found["holds"]:
        yield ok(f"{path}, event by event", "what always holds did hold")
    for one in found["broken"][:5]:
        about = f"{path}, {one['tender'] or 'the chain'}"
        yield wrong(about, f"{one['invariant']}: {one['what']}", remedy)


def registry(patient: Patient) -> Iterator[Said]:
    """That a merchant and a terminal are registered."""
    if patient.settings is None:
        return
    path = patient.settings.bridge.state_dir / FILE_NAME
    if patient.registry_trouble is not None:
        yield unknown(str(path), patient.registry_trouble)
        return
    usable = [one for one in patient.merchants if not one.retired]
    terminals = patient.world.terminals if patient.world is not None else ()
    if not usable:
        add = f'{PROGRAM} merchants add --id ID --name "NAME"'
        yield wrong(str(path), "no merchant is registered: nothing can be sold", add)
    if not terminals:
        yield wrong(str(path), "no terminal is registered", f"{PROGRAM} pair")
    if usable and terminals:
        yield ok(str(path), f"{_many(usable, 'merchant')}, {_many(terminals, 'terminal')}")


def _many(things: Iterable[object], name: str) -> str:
    count = len(list(things))
    return f"{count} {name}" if count == 1 else f"{count} {name}s"

"""`partpay-bridge doctor`: everything that has to be right before a sale, and what mends what is not."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from bridge.cli.asking import facts, load_everything, rows
from bridge.cli.command import Command, config_file, wants_json
from bridge.cli.looking import machine
from bridge.cli.printing import put_json, shown
from bridge.config import ConfigError, Settings, load, notes
from bridge.control import CommandError, Facts, ListMerchants, ListTerminals, Request, Status
from bridge.control_socket import ask, this_user
from bridge.registry import FILE_NAME, Merchant, RegistryError
from bridge.state_dir import StateDir, StateDirError, become_owner

if TYPE_CHECKING:
    from bridge.doctor.finding import Finding
    from bridge.doctor.patient import Patient, Service

_WORDS: Final = {"ok": "ok", "note": "note", "wrong": "WRONG", "unknown": "?"}
UNIT: Final = "partpay-bridge.service"


@click.command(cls=Command)
def doctor() -> None:
    """Look at everything that has to be right before a sale, and say what mends what is not.

    Works whether the daemon runs or not, and changes nothing. Run it as root: only root sees who
    else has a port. A silent terminal is looked for in every dialect and at every usual speed,
    which takes some seconds. Exit status 1 where anything is wrong; the last line says that the
    diagnosis is whole.

    \b
    partpay-bridge doctor
    partpay-bridge doctor --json
    """
    patient = _patient()
    from bridge.doctor.checks import CHECKS  # noqa: PLC0415 (no other command needs it)
    from bridge.doctor.finding import Level, as_json, examine  # noqa: PLC0415

    found = []
    for finding in examine(CHECKS, patient):
        found.append(finding)
        if not wants_json():
            _put(finding)
    wrong = sum(one.level is Level.WRONG for one in found)
    if wants_json():
        put_json(
            {
                "findings": [as_json(one) for one in found],
                "looked_at": len(found),
                "wrong": wrong,
                "complete": True,
            }
        )
    else:
        click.echo(f"end of the diagnosis: {len(found)} things looked at, {wrong} wrong")
    if wrong:
        sys.exit(1)


def _put(finding: "Finding") -> None:
    word = _WORDS[finding.level.value]
    click.echo(f"{word:<6}{shown(finding.looked_at)}: {shown(finding.found)}")
    if finding.remedy is not None and finding.level.value != "ok":
        click.echo(f"      do: {shown(finding.remedy)}")


def _patient() -> "Patient":
    """What root sees first, then everything else as the owner of state_dir."""
    world = machine()
    from bridge.doctor.machine import daemons_in  # noqa: PLC0415 (no other command needs it)
    from bridge.doctor.patient import Patient  # noqa: PLC0415

    patient = Patient(
        config_file(),
        None,
        world=world,
        version=version("partpay-terminal-bridge"),
        daemons=daemons_in(Path("/")),
        service=_service(),
        say=lambda text: click.echo(text, err=True),
    )
    try:
        settings = load(config_file())
    except ConfigError as error:
        return replace(patient, problems=error.problems)
    _load_all()
    try:
        become_owner(settings.bridge.state_dir)
    except StateDirError as error:
        return replace(patient, settings=settings, registry_trouble=str(error))
    return _with_registry(replace(patient, settings=settings, notes=notes(settings)), settings)


def _with_registry(patient: "Patient", settings: Settings) -> "Patient":
    who = this_user()

    def ask_daemon(request: Request) -> Any:
        """From any thread, which `facts` cannot be."""
        answer = ask(settings.control.socket, request, who)
        assert isinstance(answer, Facts)
        return answer.value

    def locked() -> AbstractContextManager[object]:
        # A directory that is not there is not made: nothing is changed, and no daemon uses it.
        state_dir = settings.bridge.state_dir
        return StateDir.locked(state_dir, "a command") if state_dir.exists() else nullcontext()

    patient = replace(patient, ask=ask_daemon, locked=locked)
    try:
        status: dict[str, Any] | None = facts(Status())
    except CommandError:
        status = None
    patient = replace(patient, status=status)
    assert patient.world is not None
    if status is not None:
        patient = replace(patient, world=replace(patient.world, lines=status["lines"]))
    if status is None and not (settings.bridge.state_dir / FILE_NAME).exists():
        return patient
    try:
        with rows(ListMerchants()) as told:
            merchants = [_merchant(one) for one in told]
        with rows(ListTerminals()) as told:
            terminals = list(told)
    except (CommandError, RegistryError, StateDirError, OSError) as error:
        return replace(patient, registry_trouble=str(error))
    assert patient.world is not None
    world = replace(patient.world, terminals=terminals)
    return replace(patient, merchants=merchants, world=world)


def _merchant(told: dict[str, Any]) -> Merchant:
    return Merchant(
        told["id"],
        told["name"],
        told["client_id"],
        told["client_secret_file"],
        told["callback_key_file"],
        told["removed"],
    )


def _load_all() -> None:
    """As root, which may be the only one that can read this program."""
    load_everything()
    for module in ("bridge.doctor.checks", "bridge.access", "bridge.listener", "requests", "pwd"):
        import_module(module)


def _service() -> "Service | None":
    """The service's files of this release, and where they belong; None where they did not come along."""
    from bridge.cli.install_service import (  # noqa: PLC0415 (no other command needs it)
        COPIED,
        PACKAGED_UNIT,
        UNIT_FILE,
        service_files,
    )
    from bridge.doctor.patient import Service  # noqa: PLC0415

    rules = "70-partpay-bridge.rules"
    try:
        unit_text = service_files().joinpath(UNIT).read_text(encoding="utf-8")
        rules_text = service_files().joinpath(rules).read_text(encoding="utf-8")
    except OSError:
        return None
    return Service(
        unit=unit_text,
        unit_files=(UNIT_FILE, PACKAGED_UNIT),
        rules=rules_text,
        rules_files=(COPIED[rules], Path("/usr/lib/udev/rules.d") / rules),
        program=Path(os.path.realpath(sys.argv[0])),
    )

"""What `ports`, `doctor` and others look at before they ask anybody: the machine, as root where root runs them.

Only root sees which process has a port; so this is looked at before the command goes on as the
owner of state_dir.
"""

from typing import TYPE_CHECKING, Any

from bridge.cli.asking import facts, rows
from bridge.cli.command import config_file
from bridge.config import ConfigError, load
from bridge.control import CommandError, ListTerminals, Status
from bridge.registry import FILE_NAME, RegistryError
from bridge.state_dir import StateDirError

if TYPE_CHECKING:
    from bridge.ports import World


def machine() -> "World":
    """What is plugged in, and who has what; no terminal and no line yet."""
    from bridge.ports import World  # noqa: PLC0415 (pyserial and libusb)
    from drivers.discovery import inventory  # noqa: PLC0415
    from drivers.holders import occupancy  # noqa: PLC0415

    return World(inventory(), occupancy())


def daemon_status() -> dict[str, Any] | None:
    """What the daemon says of itself; None where none answers. Raises ConfigError."""
    try:
        told: dict[str, Any] = facts(Status())
    except CommandError:
        return None
    return told


def registered_terminals() -> tuple[list[dict[str, Any]], str | None]:
    """The terminals of the registry; and why they are not known, where they are not."""
    try:
        settings = load(config_file())
        if not (settings.bridge.state_dir / FILE_NAME).exists():
            return [], f"no terminal is registered yet in {settings.bridge.state_dir}"
        with rows(ListTerminals()) as told:
            return list(told), None
    except ConfigError as error:
        return [], str(error)
    except (CommandError, RegistryError, StateDirError, OSError) as error:
        return [], str(error)

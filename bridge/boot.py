"""Which boot of the machine this is: deadlines that another boot stored mean nothing now.

- The kernel says it under /proc/sys. A service that sees its own processes alone (the unit's ProcSubset=pid) has no
  such file, and is told by the service manager: `Environment=PARTPAY_BRIDGE_BOOT=%b`.
- Both say the same 128 bits, the one with dashes, the other without: stored is the form without.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

TOLD: Final = "PARTPAY_BRIDGE_BOOT"
KERNEL: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id(environ: Mapping[str, str] = os.environ, kernel: Path = KERNEL) -> str:
    """32 lower-case hex digits. The kernel's own word comes first: what is told could be stale.

    Raises OSError where neither says it.
    """
    try:
        said = kernel.read_text()
    except OSError:
        said = environ.get(TOLD, "")
        if not _plain(said):
            raise
    return _plain(said)


def _plain(said: str) -> str:
    digits = said.strip().replace("-", "").lower()
    return digits if re.fullmatch("[0-9a-f]{32}", digits) else ""

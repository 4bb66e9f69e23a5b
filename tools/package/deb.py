"""What stands around the program in the Debian package: where files go, what dpkg is told, whose work it is.

Pure but for reading and writing below the folders that are given: nothing is run here.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import click

from bridge.cli.completion import completion
from bridge.cli.manual import config_page, program_page
from tools.package.tree import PLACE, Part

NAME = "partpay-bridge"
MAINTAINER = "The PartPay Terminal Bridge authors <maintainers@partpay-terminal-bridge.invalid>"
CONFFILES = ("/etc/partpay-bridge/bridge.toml",)
DOC = f"usr/share/doc/{NAME}"

FILES: Mapping[str, str] = {
    "config/bridge.toml": "etc/partpay-bridge/bridge.toml",
    "systemd/partpay-bridge.service": "usr/lib/systemd/system/partpay-bridge.service",
    "systemd/sysusers.conf": "usr/lib/sysusers.d/partpay-bridge.conf",
    "systemd/tmpfiles.conf": "usr/lib/tmpfiles.d/partpay-bridge.conf",
    "systemd/70-partpay-bridge.rules": "usr/lib/udev/rules.d/70-partpay-bridge.rules",
    "systemd/growing-pauses.conf": f"usr/share/{NAME}/growing-pauses.conf",
    "systemd/growing-pauses-before-254.conf": f"usr/share/{NAME}/growing-pauses-before-254.conf",
    "systemd/credentials.conf.example": f"{DOC}/examples/credentials.conf.example",
    "systemd/credentials-encrypted.conf.example": f"{DOC}/examples/credentials-encrypted.conf.example",
    "systemd/other-places.conf.example": f"{DOC}/examples/other-places.conf.example",
    "systemd/proxy": f"{DOC}/examples/proxy",
    "systemd/tunnel": f"{DOC}/examples/tunnel",
    "docs/behind-nat.md": f"{DOC}/behind-nat.md",
}
"""File or folder of the project -> where the package puts it."""

COMPLETIONS = {
    "bash": f"usr/share/bash-completion/completions/{NAME}",
    "zsh": f"usr/share/zsh/vendor-completions/_{NAME}",
    "fish": f"usr/share/fish/vendor_completions.d/{NAME}.fish",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of this build. epoch: seconds of 1970, the time of all that is in it."""

    version: str
    """Debian's: `0.1.0-1+deb12`."""
    architecture: str
    python: str
    glibc: str
    libraries: tuple[str, ...]
    """Packages of the system whose libraries it loads."""
    epoch: int

    @property
    def upstream(self) -> str:
        return self.version.partition("-")[0]


def place_files(top: Path, root: Path) -> None:
    """What `FILES` says, with plain modes."""
    for source, target in FILES.items():
        found = top / source
        files = sorted(found.rglob("*")) if found.is_dir() else [found]
        for file in files:
            if file.is_file():
                to = root / target / file.relative_to(found) if found.is_dir() else root / target
                put(to, file.read_bytes())


def place_made(top: Path, root: Path, program: click.Command, facts: Facts) -> None:
    """Manual pages, completion, changelog: made from the program and the project's files."""
    example = (top / "config" / "bridge.toml").read_text(encoding="utf-8")
    manual = root / "usr/share/man"
    page = program_page(program, facts.upstream)
    put(manual / "man8/partpay-bridge.8.gz", packed(page))
    put(manual / "man5/bridge.toml.5.gz", packed(config_page(example, facts.upstream)))
    for shell, target in COMPLETIONS.items():
        put(root / target, completion(shell, program).encode())
    changes = top / "CHANGELOG.md"
    if changes.exists():
        put(root / DOC / "changelog.gz", packed(changes.read_text(encoding="utf-8")))
    put(root / DOC / "changelog.Debian.gz", packed(debian_changelog(facts)))
    program_link = root / "usr/bin/partpay-bridge"
    program_link.parent.mkdir(parents=True)
    program_link.symlink_to(
        f"../../{PLACE.relative_to('usr')}/bin/partpay-bridge".replace("../../", "../")
    )


def debian_changelog(facts: Facts) -> str:
    when = format_datetime(datetime.fromtimestamp(facts.epoch, UTC))
    return (
        f"{NAME} ({facts.version}) unstable; urgency=medium\n\n"
        f"  * Made from the project by tools/build-deb; what is new is in changelog.gz.\n\n"
        f" -- {MAINTAINER}  {when}\n"
    )


def control(facts: Facts, installed_kib: int) -> str:
    """DEBIAN/control."""
    needs = [
        facts.python,
        f"libc6 (>= {facts.glibc})",
        *(name for name in facts.libraries if name != "libc6"),
        "init-system-helpers (>= 1.54)",
        "systemd | systemd-standalone-sysusers",
        "systemd | systemd-standalone-tmpfiles",
    ]
    fields = {
        "Package": NAME,
        "Version": facts.version,
        "Architecture": facts.architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(installed_kib),
        "Depends": ", ".join(needs),
        "Recommends": "ca-certificates, udev",
        "Suggests": "caddy | nginx, wireguard-tools",
        "Section": "misc",
        "Priority": "optional",
        "Description": DESCRIPTION,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


DESCRIPTION = """\
PartPay on payment terminals: the bridge between the two
 A daemon for the PC in a shop. It lets any payment terminal on a serial or
 USB cable take PartPay (New Zealand, pay in instalments): the terminal asks
 for a tender, the bridge orders it at PartPay, the QR code appears on the
 terminal's panel, the customer scans it, and the terminal is told whether it
 was approved.
 .
 The program has an environment of its own, with exact versions of all that
 it is made of."""


def copyright_text(parts: Sequence[Part], site: Path, root: Path) -> str:
    """Machine-readable (DEP 5): ours, and each package inside the tree with where its licence stands."""
    lines = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/",
        "Upstream-Name: partpay-terminal-bridge",
        "",
        "Files: *",
        "Copyright: The PartPay Terminal Bridge authors",
        "License: Apache-2.0",
        "",
    ]
    for part in parts:
        names = sorted(
            entry.name
            for entry in site.iterdir()
            if entry.name.lower().startswith(part.name.lower().replace("-", "_"))
        )
        where = [f"/{file.relative_to(root)}" for file in part.licence_files]
        lines += [
            f"Files: {' '.join(f'{PLACE}/lib/*/{name}/*' for name in names)}",
            f"Copyright: the authors of {part.name} {part.version}",
            f"License: {licence_name(part)}",
            *(
                [
                    f" The whole text is in {where[0]}"
                    + (" and beside it." if len(where) > 1 else ".")
                ]
                if where
                else [f" {part.licence or 'As its METADATA says.'}"]
            ),
            "",
        ]
    lines += [
        "License: Apache-2.0",
        " On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.",
    ]
    return "\n".join(lines) + "\n"


def licence_name(part: Part) -> str:
    """One word for each, so that two packages of one licence may have texts of their own."""
    short = "".join(c if c.isalnum() or c in ".+-" else "-" for c in part.licence or "unnamed")
    return f"{short}~{part.name}"


def md5sums(root: Path) -> str:
    """DEBIAN/md5sums, of every plain file but dpkg's own and those of the administrator."""
    lines = []
    for file in sorted(root.rglob("*")):
        name = str(file.relative_to(root))
        if file.is_symlink() or not file.is_file() or name.startswith("DEBIAN/"):
            continue
        if f"/{name}" in CONFFILES:
            continue
        digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        lines.append(f"{digest}  {name}\n")
    return "".join(lines)


def installed_kib(root: Path) -> int:
    """As dpkg counts: whole KiB for each file, one for everything else."""
    sizes = (
        -(-file.stat().st_size // 1024) if file.is_file() and not file.is_symlink() else 1
        for file in root.rglob("*")
        if "DEBIAN" not in file.relative_to(root).parts
    )
    return sum(sizes)


def settle(root: Path, epoch: int) -> None:
    """One time and plain modes for all: neither this machine's clock nor its umask is told, nor what wheels mark as
    programs.
    """
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink():
            runs = path.is_dir() or path.parent in {root / "DEBIAN", root / PLACE / "bin"}
            path.chmod(0o755 if runs and path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def put(file: Path, data: bytes, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    file.chmod(mode)


def packed(text: str) -> bytes:
    """gzip without a name or a time."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def names_of(library: Path) -> list[str]:
    """The names by which dpkg may know it: as found or resolved, below /usr or not (the two are one)."""
    found = {str(library), str(library.resolve())}
    return sorted(
        found | {name.removeprefix("/usr") for name in found} | {f"/usr{name}" for name in found}
    )


def owners(libraries: Iterable[Path], searched: str) -> list[str]:
    """The packages that own these libraries, each once. Raises LookupError for one that nobody owns.

    searched: what `dpkg-query --search` told, lines of the form `package:arch: /path`.
    """
    known = {}
    for line in searched.splitlines():
        names, _, path = line.rpartition(": ")
        known[path] = names.split(",")[0].partition(":")[0]
    found = set()
    for library in libraries:
        owner = [known[name] for name in names_of(library) if name in known]
        if not owner:
            raise LookupError(f"{library} belongs to no package")
        found.add(owner[0])
    return sorted(found)

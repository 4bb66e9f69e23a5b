"""Tries the Debian package in a Debian of its own: installs it, sells, takes it away, and says what it saw.

By hand (chroot; the unit's command line as the unit's user), then with systemd as process 1, under all that the unit
locks; and once more without the package, by pip and `partpay-bridge install-service`. What this machine does not
allow is said to be not run, and is no success.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.daemon_process import CALLBACK_KEY
from tools.free_port import free_port
from tools.package.debian import PROJECT, Debian, booted, bootstrap, entered, mirror
from tools.package.locks import probe
from tools.package.tree import CannotBuild, run
from tools.sandbox.client import SandboxClient, started
from tools.terminal.driver import TerminalProcess

TOP = Path(__file__).parents[2]
UNIT = "partpay-bridge.service"
STATE = "/var/lib/partpay-bridge"
CONFIG = "/etc/partpay-bridge/bridge.toml"
LINE = "/dev/trial-terminal"
WAIT_S = 30.0
READY_S = 20.0
WATCHDOG_S = 30.0

EXPOSURE_MAX = 1.2


@dataclass
class Report:
    """What was tried, and how it went."""

    lines: list[str] = field(default_factory=list)
    failed: int = 0

    def say(self, word: str, what: str) -> None:
        self.lines.append(f"{word:8} {what}")
        print(self.lines[-1], flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """One thing that is tried; what is put into the list is told with it."""
        found: list[str] = []
        began = time.monotonic()
        try:
            yield found
        except CannotBuild as error:
            self.failed += 1
            self.say("not run", f"{what}: {str(error).splitlines()[-1]}")
            return
        except Exception as error:
            self.say(
                "FAILED",
                f"{what}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            )
            raise
        told = f" ({', '.join(found)})" if found else ""
        self.say("ok", f"{what}{told}, {time.monotonic() - began:.1f} s")


@dataclass
class Shop:
    """What a sale needs: a Debian with the package in it, PartPay's sandbox outside, a terminal on its line."""

    debian: Debian
    sandbox: SandboxClient
    port: int
    wheels: Path
    """All wheels of the lock file, as tools/build-deb fetched them."""
    home: str = "/usr/lib/partpay-bridge"
    """The program's own environment."""
    unit_file: str = f"/usr/lib/systemd/system/{UNIT}"

    @property
    def python(self) -> str:
        return f"{self.home}/bin/python"

    def configure(self, *, callbacks: bool) -> None:
        url = self.sandbox.url
        partpay = {
            "environment": "custom",
            "base_url": f"{url}/",
            "token_url": f"{url}/oauth/token",
            "audience": "https://auth-dev.partpay.co.nz",
            "client_id": "sandbox-service",
            "client_secret_file": "/etc/partpay-bridge/client-secret",
            "callback_key_file": "/etc/partpay-bridge/callback-key",
        }
        if callbacks:
            partpay["callback_url"] = f"http://127.0.0.1:{self.port}/partpay-callback"
        lines = ["[bridge]", 'store = "AKL01"', "[partpay]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in partpay.items()]
        lines += ["[listener]", f'address = "127.0.0.1:{self.port}"', ""]
        self.debian.write(CONFIG, "\n".join(lines))
        self.secrets(owner="partpay-bridge")

    def secrets(self, *, owner: str) -> None:
        for name, text in (
            ("client-secret", "sandbox-service-secret"),
            ("callback-key", CALLBACK_KEY),
        ):
            self.debian.write(f"/etc/partpay-bridge/{name}", f"{text}\n", owner=owner, mode="0600")

    def register(self) -> None:
        bridge = "partpay-bridge"
        self.debian.run(bridge, "merchants", "add", "--id", "1001", "--name", "Kōwhai Books")
        self.debian.run(
            bridge, "terminals", "add", "--terminal-id", "T0000001", "--serial", "SN1", "--port", LINE,
            "--dialect", "native", "--merchant", "1001",
        )  # fmt: skip

    @contextmanager
    def terminal(self) -> Iterator[TerminalProcess]:
        """The simulated terminal, inside; its line belongs to dialout, as udev would have it."""
        enter = self.debian.enter
        python = (*enter, f"PYTHONPATH={PROJECT}", "PYTHONDONTWRITEBYTECODE=1", self.python)
        options = ("--pty", LINE, "--terminal-id", "T0000001", "--serial", "SN1")
        with TerminalProcess(options, python=python) as terminal:
            ends = time.monotonic() + WAIT_S
            while self.debian.run("test", "-e", LINE, check=False).returncode:
                assert time.monotonic() < ends, "the terminal makes no line"
                time.sleep(0.1)
            line = self.debian.out("readlink", "-f", LINE)
            self.debian.run("chown", "root:dialout", line)
            self.debian.run("chmod", "0660", line)
            terminal.wait_for("ready", WAIT_S, paired=True)
            yield terminal

    def sell(self, terminal: TerminalProcess, between: Callable[[], None] = lambda: None) -> float:
        """A sale that the customer approves; seconds from the approval to 00. `between`: while the code is shown."""
        counter = terminal.sale(12500)
        image = terminal.wait_for("image", WAIT_S, counter=counter)
        order = self.sandbox.order(image["code"].rsplit("/", 1)[1])
        between()
        self.sandbox.approve(order["order_id"])
        began = time.monotonic()
        told = terminal.wait_for("received", WAIT_S, message="OUTCOME", counter=counter)
        assert told["response_code"] == "00", told
        took = time.monotonic() - began
        terminal.wait_for("closed", WAIT_S, counter=counter, ending="approved")
        return took


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tools/try-package", description=__doc__)
    parser.add_argument("--deb", type=Path, help="the package (the newest in dist/)")
    parser.add_argument("--suite", help="Debian's release (the one that this machine runs)")
    parser.add_argument(
        "--wheels",
        type=Path,
        default=TOP / "build" / "wheels",
        help="the wheels of tools/build-deb (build/wheels)",
    )
    parser.add_argument("--work", type=Path, help="where the tree is made (a temporary folder)")
    parser.add_argument("--way", choices=WAYS, action="append", help="only this one (all)")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("tools/try-package: only root can make a tree and enter it", file=sys.stderr)
        return 2
    report = Report()
    try:
        packages = sorted((TOP / "dist").glob("*.deb"), key=lambda file: file.stat().st_mtime)
        if options.deb is None and not packages:
            raise CannotBuild("there is no package in dist/; run tools/build-deb first")
        deb = (options.deb or packages[-1]).resolve()
        suite = options.suite or platform.freedesktop_os_release()["VERSION_CODENAME"]
        with tempfile.TemporaryDirectory(prefix="partpay-trial-", dir=options.work) as scratch:
            every_way(options.way or list(WAYS), deb, options.wheels, suite, Path(scratch), report)
    except CannotBuild as error:
        report.say("not run", str(error))
        report.failed += 1
    print(f"\n{len(report.lines)} lines, {report.failed} failed or not run")
    return 1 if report.failed else 0


def every_way(
    ways: Sequence[str], deb: Path, wheels: Path, suite: str, scratch: Path, report: Report
) -> None:
    base = scratch / "base"
    with report.step(f"a Debian {suite} of its own"):
        bootstrap(base, mirror(suite))
        shutil.copy(deb, base / "root" / "partpay-bridge.deb")
    with started("--callback-key-file", str(_key(scratch))) as sandbox:
        for name in ways:
            enter, trial = WAYS[name]
            report.say("--", name)
            tree = scratch / name
            subprocess.run(["cp", "-a", "--reflink=auto", base, tree], check=True)
            try:
                with enter(tree, TOP) as debian:
                    trial(Shop(debian, sandbox, free_port(), wheels), report)
            except CannotBuild as error:
                report.say("not run", str(error))
                report.failed += 1
            except Exception:  # noqa: BLE001 - told; the other ways are still of use
                report.failed += 1
                traceback.print_exc()
                report.say("FAILED", f"{name} ends here")


def _key(folder: Path) -> Path:
    key = folder / "callback-key"
    key.touch(mode=0o600)
    key.write_text(f"{CALLBACK_KEY}\n")
    return key


def install(debian: Debian, report: Report) -> None:
    with report.step("installed, with all that it depends on") as found:
        debian.run(
            "apt-get", "install", "-y", "-qq", "--no-install-recommends", "/root/partpay-bridge.deb"
        )
        found.append(
            debian.out(
                "dpkg-query", "-W", "-f", "${Version}, ${Installed-Size} KiB", "partpay-bridge"
            )
        )
    with report.step("dpkg --install alone"):
        debian.run("dpkg", "--install", "/root/partpay-bridge.deb")
    with report.step("user, groups and folders") as found:
        groups = set(debian.out("id", "-nG", "partpay-bridge").split())
        assert {"dialout", "lp"} <= groups, groups
        found.append(debian.out("stat", "-c", "%n %U %a", STATE))
        assert found[0] == f"{STATE} partpay-bridge 700"


def take_away(shop: Shop, before: set[str], report: Report) -> None:
    debian = shop.debian
    with report.step("removed; configuration, secrets and journal stay"):
        debian.run("apt-get", "remove", "-y", "-qq", "partpay-bridge")
        assert not debian.exists("/usr/bin/partpay-bridge")
        assert not debian.exists("/usr/lib/partpay-bridge")
        for path in (CONFIG, "/etc/partpay-bridge/client-secret", f"{STATE}/journal.db"):
            assert debian.exists(path), path
    with report.step("purged; the journal is kept, nothing else") as found:
        said = debian.run("apt-get", "purge", "-y", "-qq", "partpay-bridge").stdout
        assert "are kept in /var/backups/partpay-bridge/" in said
        debian.run("apt-get", "autoremove", "--purge", "-y", "-qq")
        left = {path for path in debian.files() - before if not path.startswith("/var/backups/")}
        assert not left, f"left behind: {sorted(left)[:20]}"
        found.append(", ".join(debian.out("sh", "-c", "ls /var/backups/partpay-bridge/*").split()))


def by_hand(shop: Shop, report: Report) -> None:
    debian = shop.debian
    before = debian.files()
    install(debian, report)
    look_at_the_unit(debian, report)
    with report.step("configured as a person would, by polling alone"):
        refused = debian.run("partpay-bridge", "check-config", check=False)
        assert refused.returncode == 2, "the example says that it is no configuration yet"
        shop.configure(callbacks=False)
        assert debian.run("partpay-bridge", "check-config").stdout == "OK\n"
        shop.register()
        owners = set(debian.out("sh", "-c", f"stat -c %U {STATE}/*").split())
        assert owners == {"partpay-bridge"}, owners
    with report.step("a sale: the unit's command line as the unit's user") as found:
        sold = 0.0
        with daemon(debian, found), shop.terminal() as terminal:
            sold = shop.sell(terminal)
        found.append(f"approved to 00 {sold:.2f} s")
    with report.step("installed over itself: nothing of the shop's is lost"):
        debian.run("dpkg", "--install", "/root/partpay-bridge.deb")
        assert "AKL01" in debian.out("cat", CONFIG)
        with daemon(debian, []):
            assert len(json.loads(debian.out("partpay-bridge", "tenders", "list", "--json"))) == 1
            debian.run("partpay-bridge", "audit")
    take_away(shop, before, report)


@contextmanager
def daemon(debian: Debian, found: list[str]) -> Iterator[None]:
    """The unit's ExecStart, as its user, without its locks."""
    unit = (debian.tree / "usr/lib/systemd/system" / UNIT).read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition(
        "="
    )[2]
    debian.run("install", "-d", "-o", "partpay-bridge", "/run/partpay-bridge")
    user = ("setpriv", "--reuid", "partpay-bridge", "--regid", "partpay-bridge", "--init-groups")
    began = time.monotonic()
    process = subprocess.Popen(
        [*debian.enter, *user, *command.split()], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "event=ready" in line:
                break
        else:
            raise AssertionError("".join(said))
        found.append(f"ready after {time.monotonic() - began:.2f} s")
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def start(debian: Debian) -> None:
    """Raises AssertionError with the last that the log has of it, where it does not start."""
    if debian.run("systemctl", "start", UNIT, check=False).returncode:
        told = debian.out(
            "journalctl", "--no-pager", "--output=cat", "--lines=12", f"--unit={UNIT}"
        )
        raise AssertionError(f"it does not start: {told}")


def look_at_the_unit(debian: Debian, report: Report) -> None:
    with report.step("systemd-analyze finds nothing wrong") as found:
        done = debian.run(
            "systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}"
        )
        assert done.stdout + done.stderr == "", done.stdout + done.stderr
        told = debian.out(
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--no-pager",
            f"/usr/lib/systemd/system/{UNIT}",
        )
        exposure = told.rsplit(": ", 1)[1].split()[0]
        found.append(f"exposure {exposure}")
        found.append(debian.out("systemctl", "--version").splitlines()[0])
        assert float(exposure) <= EXPOSURE_MAX


def under_systemd(shop: Shop, report: Report) -> None:
    debian = shop.debian
    before = debian.files()
    install(debian, report)
    with report.step("not started before it is configured; enabled all the same"):
        assert state(debian, "ActiveState") == "inactive"
        assert state(debian, "UnitFileState") == "enabled"
    shop.configure(callbacks=True)
    shop.register()
    with report.step("started") as found:
        began = time.monotonic()
        start(debian)
        found.append(f"ready after {time.monotonic() - began:.2f} s")
        assert state(debian, "ActiveState") == "active"
    with report.step("the kernel says that it is locked") as found:
        status = (Path(f"/proc/{_outside(debian)}") / "status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert (facts["Seccomp"], facts["NoNewPrivs"], int(facts["CapBnd"], 16)) == ("2", "1", 0)
        found.append("seccomp, no new privileges, no capabilities")
    with shop.terminal() as terminal:
        with report.step("a sale under the unit's locks, by a signed callback") as found:
            found.append(f"approved to 00 {shop.sell(terminal):.2f} s")
        with report.step("killed while the code was shown; started again, approved, 00") as found:
            found.append(f"{shop.sell(terminal, lambda: kill(debian, terminal, 'KILL')):.2f} s")
        with report.step("stopped in its tracks; the watchdog ends it, a sale goes through"):
            kill(debian, terminal, "STOP", within_s=WATCHDOG_S + READY_S)
            shop.sell(terminal)
        with report.step("secrets that only root can read, by LoadCredential"):
            use_credentials(shop, terminal, "credentials.conf.example")
            shop.sell(terminal)
        with report.step("secrets encrypted for this machine, by LoadCredentialEncrypted"):
            encrypt(debian)
            use_credentials(shop, terminal, "credentials-encrypted.conf.example")
            shop.sell(terminal)
    with report.step("what it may open, write and run") as found:
        found.append(probe(debian, shop.unit_file, shop.python))
    with report.step("the journal audited: all that must hold did"):
        debian.run("partpay-bridge", "audit")
    shop.secrets(owner="partpay-bridge")
    for path in (
        "/etc/credstore.encrypted",
        f"/etc/systemd/system/{UNIT}.d",
        "/var/lib/systemd/credential.secret",
    ):
        debian.run("rm", "-rf", path)
    take_away(shop, before, report)


def by_venv(shop: Shop, report: Report) -> None:
    """Without the package: pip, a venv, and the program's own command."""
    debian = shop.debian
    debian.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-venv")
    before = debian.files()
    shop.home, shop.unit_file = "/opt/partpay-bridge", f"/etc/systemd/system/{UNIT}"
    with report.step("into a venv by pip, from the wheels alone"):
        own = debian.tree / "root" / "own"
        run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", own], cwd=TOP)
        shutil.copytree(shop.wheels, debian.tree / "root" / "wheels")
        shutil.copy(TOP / "tools/lock/run.txt", debian.tree / "root" / "run.txt")
        debian.run("python3", "-m", "venv", shop.home)
        pip = (
            f"{shop.home}/bin/pip",
            "install",
            "-q",
            "--no-index",
            "--find-links",
            "/root/wheels",
        )
        debian.run(*pip, "--require-hashes", "-r", "/root/run.txt")
        debian.run(*pip, "--no-deps", f"/root/own/{next(own.glob('*.whl')).name}")
    installer = (f"{shop.home}/bin/partpay-bridge", "install-service")
    with report.step("install-service, after a dry run that changed nothing") as found:
        told = debian.out(*installer, "--dry-run")
        assert not debian.exists(shop.unit_file)
        debian.run(*installer)
        found.append(f"{len(told.splitlines())} steps")
        assert state(debian, "UnitFileState") == "enabled"
        verified = debian.run("systemd-analyze", "verify", "--man=no", shop.unit_file)
        assert verified.stdout + verified.stderr == "", verified.stderr
    shop.configure(callbacks=True)
    shop.register()
    with report.step("a sale under the unit's locks") as found:
        start(debian)
        with shop.terminal() as terminal:
            found.append(f"approved to 00 {shop.sell(terminal):.2f} s")
    with report.step("what it may open, write and run") as found:
        found.append(probe(debian, shop.unit_file, shop.python))
    with report.step("uninstalled; configuration, secrets and journal stay"):
        debian.run(*installer, "--uninstall")
        debian.run("rm", "-rf", shop.home)
        left = {
            path
            for path in debian.files() - before
            if not path.startswith(("/etc/partpay-bridge", STATE))
        }
        folders = {path for path in left if (debian.tree / path.lstrip("/")).is_dir()}
        assert not left - folders, sorted(left - folders)
        assert debian.exists(f"{STATE}/journal.db")


def state(debian: Debian, name: str) -> str:
    return debian.out("systemctl", "show", "--property", name, "--value", UNIT)


def _outside(debian: Debian) -> str:
    """The daemon's process, as this machine numbers it."""
    inside = state(debian, "MainPID")
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            numbers = [
                line.split()[1:]
                for line in status.read_text().splitlines()
                if line.startswith("NSpid:")
            ]
        except OSError:
            continue
        if numbers and len(numbers[0]) > 1 and numbers[0][-1] == inside:
            return numbers[0][0]
    raise AssertionError(f"process {inside} is nowhere")


def kill(
    debian: Debian, terminal: TerminalProcess, name: str, *, within_s: float = READY_S
) -> None:
    """Sends the signal, and waits until another process of the daemon is ready."""
    before = state(debian, "MainPID")
    debian.run("systemctl", "kill", "--kill-who=main", f"--signal={name}", UNIT)
    ends = time.monotonic() + within_s
    while state(debian, "MainPID") in {before, "0"} or state(debian, "ActiveState") != "active":
        assert time.monotonic() < ends, f"it did not come back within {within_s} s"
        time.sleep(0.2)
    terminal.wait_for("ready", WAIT_S, paired=True)


def encrypt(debian: Debian) -> None:
    """The secrets, out of their files. Raises CannotBuild where this machine has no key for it."""
    debian.run("mkdir", "-p", "/etc/credstore.encrypted")
    for name in ("client-secret", "callback-key"):
        plain = f"/etc/partpay-bridge/{name}"
        target = f"/etc/credstore.encrypted/partpay-{name}"
        words = ("systemd-creds", "encrypt", f"--name=partpay-{name}", plain, target)
        done = debian.run(*words, check=False)
        if done.returncode:
            raise CannotBuild(done.stderr.strip())
        debian.run("rm", plain)


def use_credentials(shop: Shop, terminal: TerminalProcess, example: str) -> None:
    debian = shop.debian
    if example == "credentials.conf.example":
        shop.secrets(owner="root")
    text = debian.out("cat", CONFIG)
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("client_secret_file", "callback_key_file"))
    ]
    debian.write(CONFIG, "\n".join(kept) + "\n")
    debian.run("mkdir", "-p", f"/etc/systemd/system/{UNIT}.d")
    source = f"/usr/share/doc/partpay-bridge/examples/{example}"
    debian.run("cp", source, f"/etc/systemd/system/{UNIT}.d/credentials.conf")
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "restart", UNIT)
    terminal.wait_for("ready", WAIT_S, paired=True)


WAYS = {
    "chroot": (entered, by_hand),
    "systemd": (booted, under_systemd),
    "venv": (booted, by_venv),
}
"""How the tree is entered, and what is tried in it."""


if __name__ == "__main__":
    sys.exit(main())

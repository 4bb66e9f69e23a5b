"""The real daemon in this process, for what can be reached only from inside: a USB bus, a clock, a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bridge.config import load
from bridge.daemon import Daemon
from bridge.log import daemon_log
from bridge.state_dir import DAEMON, StateDir
from tools.daemon_process import BridgeFolder


@contextmanager
def daemon_here(folder: BridgeFolder) -> Iterator[Daemon]:
    """`partpay-bridge run`, but for its signals, process and memory settings."""
    settings = load(folder.config)
    with StateDir.locked(settings.bridge.state_dir, DAEMON), ExitStack() as stack:
        daemon = Daemon(settings, daemon_log(settings.log.format), stack)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()

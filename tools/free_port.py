"""A TCP port of this machine that nobody has just now."""

import socket


def free_port() -> int:
    """The kernel's choice; it is free until somebody takes it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

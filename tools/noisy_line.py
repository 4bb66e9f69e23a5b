"""A serial line with noise: a pseudo-terminal for the daemon, relayed to another one with bits flipped both ways.

    .venv/bin/python -m tools.noisy_line FROM TO --ber 1e-4 [--seed N]

FROM is the path that the terminal made, TO the path that the daemon opens. Which bits flip is drawn from the seed.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import select
import sys
import termios
import threading
import tty
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

READ_BYTES: Final = 4096


class Noise:
    """Flips each bit with probability `ber`; draws the distance to the next flip, so quiet lines cost nothing."""

    def __init__(self, ber: float, random_: random.Random) -> None:
        self._ber = ber
        self._random = random_
        self.flipped = 0
        self._next = self._distance()

    def _distance(self) -> int:
        if self._ber <= 0:
            return sys.maxsize
        return int(math.log(1.0 - self._random.random()) / math.log(1.0 - self._ber))

    def through(self, data: bytes) -> bytes:
        bits = len(data) * 8
        if self._next >= bits:
            self._next -= bits
            return data
        noisy = bytearray(data)
        while self._next < bits:
            noisy[self._next >> 3] ^= 1 << (self._next & 7)
            self.flipped += 1
            self._next += 1 + self._distance()
        self._next -= bits
        return bytes(noisy)


class NoisyLine:
    """Relays until it is closed, in a thread of its own. A context manager."""

    def __init__(self, source: Path, target: Path, ber: float, seed: int = 0) -> None:
        """Opens `source`, and makes the pseudo-terminal that `target` links to. Raises OSError."""
        self._source = os.open(source, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._source, termios.TCSANOW)
        self._master, slave = os.openpty()
        tty.setraw(slave, termios.TCSANOW)
        # Held open: a pseudo-terminal that nobody has open hangs up.
        self._slave = slave
        self._target = target
        with suppress(FileNotFoundError):
            target.unlink()
        target.symlink_to(os.ttyname(slave))
        self.noise = {
            self._source: Noise(ber, random.Random(f"{seed}-in")),
            self._master: Noise(ber, random.Random(f"{seed}-out")),
        }
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="noisy-line", daemon=True)
        self._thread.start()

    @property
    def flipped(self) -> int:
        """Bits flipped so far, both ways."""
        return sum(noise.flipped for noise in self.noise.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._stop_write, b".")
        self._thread.join(5)
        with suppress(FileNotFoundError):
            self._target.unlink()
        for fd in (self._source, self._master, self._slave, self._stop_read, self._stop_write):
            os.close(fd)

    def _run(self) -> None:
        other = {self._source: self._master, self._master: self._source}
        while True:
            ready, _, _ = select.select([self._source, self._master, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for fd in ready:
                try:
                    data = os.read(fd, READ_BYTES)
                    os.write(other[fd], self.noise[fd].through(data))
                except OSError:
                    return


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="FROM")
    parser.add_argument("target", type=Path, metavar="TO")
    parser.add_argument(
        "--ber", type=float, default=1e-4, help="probability that a bit is flipped (1e-4)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with NoisyLine(options.source, options.target, options.ber, options.seed) as line:
        print(f"relaying {options.source} to {options.target}; Enter ends it", file=sys.stderr)
        sys.stdin.readline()
        print(f"{line.flipped} bits were flipped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

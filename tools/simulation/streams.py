"""One stream of randomness for each source, all from one seed: a new fault does not reshuffle the rest."""

from __future__ import annotations

from random import Random


class Streams:
    """`of(name)` is the same stream each time, and another one for each name and seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def of(self, name: str) -> Random:
        """The stream of this source."""
        stream = self._streams.get(name)
        if stream is None:
            # The parts in bytes: that is seeded quickly, and the same in every process.
            stream = self._streams[name] = Random(f"{self._seed}/{name}".encode())
        return stream

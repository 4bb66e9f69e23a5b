"""The chain of events: each one carries a hash of itself and the one before it, so that a changed past shows.

hash = SHA-256( hash before ‖ seq US at US pairing US counter US name US data ), US being 1F; the first one stands
on 32 zero bytes. By itself a chain proves little (who changes one row can change the rest): its head goes to the
system log every hour, and `audit --head` checks against that (reliability, I-28).
"""

import hashlib
from typing import Final

START: Final = bytes(32)


def link(
    before: bytes, seq: int, at: str, pairing: int | None, counter: int | None, name: str, data: str
) -> bytes:
    """The 32 bytes that event `seq` carries."""
    of = ("" if pairing is None else str(pairing), "" if counter is None else str(counter))
    text = "\x1f".join((str(seq), at, *of, name, data))
    return hashlib.sha256(before + text.encode()).digest()

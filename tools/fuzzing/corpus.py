"""The inputs that fuzzing begins with, and what it has found beside them.

- Committed: `tests/corpus/<target>.txt`, one input a line in base64, so that a whole corpus is one small file that a
  reviewer can see change. The ordinary tests run every line.
- Working: a folder of files for each target, as libFuzzer wants it; not committed. `keep` brings the best of it back.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[2]
COMMITTED: Final = TOP / "tests" / "corpus"
WORKING: Final = TOP / ".fuzz" / "corpus"
COMMITTED_MAX_BYTES: Final = 24 * 1024
"""Of one target's file: a corpus is for the repository, not for the fuzzer's every find."""


def file_of(target: str) -> Path:
    return COMMITTED / f"{target}.txt"


def committed(target: str) -> list[bytes]:
    """The inputs in the repository, in order."""
    lines = file_of(target).read_text().splitlines()
    return [base64.b64decode(line) for line in lines if line and not line.startswith("#")]


def write(target: str, inputs: Iterable[bytes]) -> int:
    """Replaces the committed file; the number of inputs. Each once, the shortest first."""
    lines = sorted({base64.b64encode(one).decode() for one in inputs}, key=lambda s: (len(s), s))
    kept, size = [], 0
    for line in lines:
        size += len(line) + 1
        if size <= COMMITTED_MAX_BYTES:
            kept.append(line)
    COMMITTED.mkdir(parents=True, exist_ok=True)
    file_of(target).write_text("\n".join(kept) + "\n")
    return len(kept)


def unpack(target: str) -> Path:
    """The working folder, with the committed inputs in it."""
    folder = WORKING / target
    folder.mkdir(parents=True, exist_ok=True)
    for one in committed(target):
        name = hashlib.sha256(one).hexdigest()[:40]
        (folder / name).write_bytes(one)
    return folder


def working(target: str) -> list[bytes]:
    """Every input in the working folder."""
    folder = WORKING / target
    return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.is_dir() else []

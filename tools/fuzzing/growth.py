"""Does memory grow when the same inputs come again and again? Without atheris, whose own grows with its corpus.

`python -m tools.fuzzing.growth TARGET SECONDS` runs the working corpus over and over, and prints one JSON object:
what the process held after the first third of the time, what it held at the end, and how often the corpus was run.
It is the kernel's figure (VmRSS), so that what C code loses shows too.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from tools.fuzzing import corpus
from tools.fuzzing.targets import TARGETS

WARM_UP_SHARE = 1 / 3


def resident_kib() -> int:
    """What the kernel says that this process holds now."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def main() -> None:
    target = TARGETS[sys.argv[1]]
    inputs = corpus.working(target.name) or corpus.committed(target.name)
    began = time.monotonic()
    seconds = float(sys.argv[2])
    rounds, runs, warm = 0, 0, 0
    while (passed := time.monotonic() - began) < seconds or not warm:
        # Once at a third of the time; where one round takes longer than that, after it.
        if not warm and rounds and passed >= seconds * WARM_UP_SHARE:
            warm = resident_kib()
        for one in inputs:
            target.run(one)
        rounds, runs = rounds + 1, runs + len(inputs)
    end = resident_kib()
    print(json.dumps({"runs": runs, "rounds": rounds, "warm_kib": warm, "end_kib": end}))


if __name__ == "__main__":
    main()

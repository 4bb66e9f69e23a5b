"""A unit as tests read it: section and key to the values that hold, in order."""

from collections import defaultdict
from pathlib import Path

TOP = Path(__file__).parents[2]
SYSTEMD = TOP / "systemd"


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """The file's settings, continued lines joined."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    text = (SYSTEMD / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[section][key].append(value)
    return found

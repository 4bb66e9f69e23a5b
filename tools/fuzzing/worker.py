"""One process under atheris: one target, until its time is over or something is found.

Run by `__main__`; the options after the target are libFuzzer's. Exit status 0: nothing was found.
"""

import sys

import atheris

with atheris.instrument_imports(include=["bridge", "drivers"]):
    from tools.fuzzing.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

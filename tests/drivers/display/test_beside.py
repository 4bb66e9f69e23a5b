import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from drivers.display import beside
from drivers.display.beside import DisplayConfigError, display_named, known_drivers


@pytest.fixture
def other_packages(mocker):
    def bring(**brought: object) -> None:
        points = []
        for name, what in brought.items():
            point = mocker.Mock(spec=EntryPoint)
            point.name = name
            point.load.side_effect = what if isinstance(what, Exception) else lambda what=what: what
            points.append(point)
        mocker.patch.object(
            beside,
            "entry_points",
            lambda group, name=None: [point for point in points if name in (None, point.name)],
        )

    return bring


def test_another_package_brings_a_driver(other_packages):
    other_packages(hologram=lambda rest: f"a display at {rest}")
    assert display_named("hologram:shelf:4?size=3") == "a display at shelf:4?size=3"
    assert known_drivers() == "escpos, hologram"


def test_a_driver_that_cannot_be_loaded(other_packages):
    other_packages(hologram=ImportError("no laser"))
    with pytest.raises(DisplayConfigError, match="hologram cannot be loaded: no laser"):
        display_named("hologram:1")


def test_python_escpos_is_loaded_only_for_its_displays(tmp_path):
    """And then leaves no handler at the root logger, and no folder in /tmp."""
    program = (
        "import sys, drivers.display.beside, drivers.display.qr\n"
        "assert 'escpos' not in sys.modules\n"
        "drivers.display.beside.display_named('escpos:tcp:h')\n"
        "import logging, tempfile, pathlib\n"
        "assert 'escpos' in sys.modules and not logging.getLogger().handlers\n"
        "assert not list(pathlib.Path(tempfile.gettempdir()).iterdir())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"TMPDIR": str(tmp_path)})

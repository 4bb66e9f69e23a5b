import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.display.geometry import DoesNotFit, Panel, Placement, place, place_by_terminal

sides = st.integers(1, 40).map(lambda version: 17 + 4 * version)
panels = st.builds(Panel, st.integers(0, 600), st.integers(0, 600))


@pytest.mark.parametrize(
    ("side", "panel", "module_px", "quiet_modules"),
    [
        (33, Panel(240, 320), 5, 4),
        (37, Panel(320, 240), 5, 4),
        (33, Panel(160, 160), 3, 4),
        (49, Panel(160, 160), 3, 2),  # 2 px with the full quiet zone, 3 with 2
        (45, Panel(160, 160), 3, 4),  # 3 px already: the full quiet zone stays
        (53, Panel(160, 160), 2, 4),  # 2 is no larger than 2
        (21, Panel(128, 64), 2, 4),
        (25, Panel(128, 64), 2, 2),
        (29, Panel(128, 64), 1, 4),
        (57, Panel(128, 64), 1, 2),
        (57, Panel(65, 65), None, None),  # one row too many for modules of 1 px
        (61, Panel(128, 64), None, None),
        (177, Panel(480, 362), 2, 2),
        (177, Panel(480, 361), None, None),
    ],
)
def test_places(side, panel, module_px, quiet_modules):
    placed = place(side, panel)
    if module_px is None:
        assert isinstance(placed, DoesNotFit)
        assert str(panel) in placed.why
    else:
        assert isinstance(placed, Placement)
        assert (placed.module_px, placed.quiet_modules) == (module_px, quiet_modules)


@given(sides, panels)
def test_whole_modules_in_the_middle_with_their_quiet_zone(side, panel):
    placed = place(side, panel)
    room = min(panel.width, panel.height)
    least = 1 if panel.height <= 64 else 2
    if isinstance(placed, DoesNotFit):
        assert least * (side + 4) > room
        return
    assert placed.side_px == side * placed.module_px
    assert placed.module_px >= least
    quiet_px = placed.quiet_modules * placed.module_px
    for before, extent in ((placed.left, panel.width), (placed.top, panel.height)):
        after = extent - before - placed.side_px
        assert before >= quiet_px
        assert after >= quiet_px
        assert 0 <= after - before <= 1
    full, narrow = room // (side + 8), room // (side + 4)
    if full >= 3 or narrow == full:
        assert (placed.module_px, placed.quiet_modules) == (full, 4)
    else:
        assert (placed.module_px, placed.quiet_modules) == (narrow, 2)


@given(sides, panels)
def test_a_terminal_that_scales_by_itself_leaves_four_modules(side, panel):
    placed = place_by_terminal(side, panel)
    if isinstance(placed, Placement):
        assert placed.quiet_modules == 4
        assert placed.module_px == min(panel.width, panel.height) // (side + 8)

"""`python -m tools.commands_page`: writes docs/commands.md anew."""

from pathlib import Path

from bridge.cli.main import program
from tools.commands_page.page import page

FILE = Path(__file__).parents[2] / "docs" / "commands.md"

FILE.write_text(page(program), encoding="utf-8")
print(FILE)

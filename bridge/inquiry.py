"""The questions to the journal that take more than reading: one tender explained, everything audited."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bridge.audit import audit
from bridge.explain import explain
from bridge.journal.reader import JournalReader


class JournalInquiry:
    """See `control.Inquiry`. Any thread may call any method; each raises sqlite3.Error."""

    def __init__(self, path: Path, currency: str) -> None:
        self._path = path
        self._currency = currency

    def explain(self, pairing: int, counter: int) -> Mapping[str, Any]:
        return explain(JournalReader(self._path), pairing, counter, self._currency)

    def audit(self, head: str | None) -> Mapping[str, Any]:
        return audit(self._path, head)

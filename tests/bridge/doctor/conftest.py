"""A patient in good health, made anew for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.config import load
from bridge.doctor.checks import CHECKS
from bridge.doctor.finding import Finding, Level, examine
from bridge.doctor.patient import Patient
from bridge.ports import World
from bridge.registry import Merchant
from drivers.discovery import Inventory

MakePatient = Callable[..., Patient]


def found(patient: Patient, *checks: str, level: Level | None = None) -> list[Finding]:
    """What these checks find; `level`: of that level alone."""
    known = {check.name for check in CHECKS}
    assert set(checks) <= known, set(checks) - known
    chosen = [check for check in CHECKS if check.name in checks]
    every = list(examine(chosen, patient))
    for finding in every:
        assert "the check itself failed" not in finding.found, finding
        assert finding.remedy or finding.level is not Level.WRONG, finding
    return [one for one in every if level is None or one.level is level]


def wrongs(patient: Patient, *checks: str) -> list[Finding]:
    return found(patient, *checks, level=Level.WRONG)


@pytest.fixture
def make_patient(tmp_path: Path) -> MakePatient:
    def make(
        *,
        partpay: dict[str, str] | None = None,
        listener: str = "127.0.0.1:0",
        **more: Any,
    ) -> Patient:
        secret = tmp_path / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text("s3cret\n")
        keys = {
            "environment": "custom",
            "base_url": "http://127.0.0.1:9",
            "token_url": "http://127.0.0.1:9/oauth/token",
            "audience": "https://audience.test",
            "client_id": "client-1",
            "client_secret_file": str(secret),
            **(partpay or {}),
        }
        file = tmp_path / "bridge.toml"
        lines = [f'{name} = "{value}"' for name, value in keys.items()]
        file.write_text(
            f'[bridge]\nstore = "AKL01"\nstate_dir = "{tmp_path}/state"\n[partpay]\n'
            + "\n".join(lines)
            + f'\n[listener]\naddress = "{listener}"\n[control]\nsocket = "{tmp_path}/socket"\n'
        )
        (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
        (tmp_path / "proc").mkdir(exist_ok=True)
        settings = load(file, {})
        defaults: dict[str, Any] = {
            "world": World(Inventory(())),
            "merchants": [Merchant("M1", "Shoes")],
            "root": tmp_path,
        }
        return Patient(file, settings, **{**defaults, **more})

    return make


def status(**more: Any) -> dict[str, Any]:
    """What a daemon says that is well."""
    return {
        "pid": 4711,
        "version": "1.0",
        "conditions": [],
        "lines": [],
        "callback_age_s": None,
        **more,
    }

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.journal.journal import Journal

Invoke = Callable[..., Any]


def test_says_ok(invoke: Invoke) -> None:
    done = invoke("check-config")
    assert (done.exit_status, done.out) == (0, "OK\n")
    assert "note: " in done.err


def test_says_ok_as_json(invoke: Invoke) -> None:
    told = invoke("check-config", "--json").json
    assert (told["ok"], told["problems"]) == (True, [])
    assert [note["key"] for note in told["notes"]] == ["partpay.client_id", "partpay.callback_url"]


def test_says_that_what_is_remembered_is_of_another_environment(
    invoke: Invoke, tmp_path: Path
) -> None:
    """The daemon would not start, and said so in its log alone."""
    (tmp_path / "state").mkdir(exist_ok=True)
    Journal(tmp_path / "state/journal.db", "production", lambda: "2026-12-01T").close()
    done = invoke("check-config")
    assert done.exit_status == 2
    assert "is sandbox, and" in done.out
    assert "is of production; set it back" in done.out


def test_reads_the_secrets_too(invoke: Invoke, config: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary-4711")
    secret.chmod(0o644)
    text = config.read_text()
    config.write_text(
        text.replace(
            'environment = "sandbox"',
            f'environment = "sandbox"\nclient_id = "c"\nclient_secret_file = "{secret}"',
        )
    )
    done = invoke("check-config")
    assert done.exit_status == 2
    assert f"{config}:8: partpay.client_secret_file: {secret} can be read by others" in done.out
    (problem,) = invoke("check-config", "--json").json["problems"]
    assert (problem["line"], problem["key"]) == (8, "partpay.client_secret_file")
    assert problem["remedy"].startswith("chmod 600")
    secret.chmod(0o600)
    assert invoke("check-config").out == "OK\n"


def test_run_refuses_a_service_without_its_secret(invoke: Invoke, config: Path) -> None:
    text = config.read_text()
    config.write_text(text.replace("[control]", 'client_id = "c"\n[control]'))
    done = invoke("run")
    assert done.exit_status == 2
    assert "partpay.client_id: has no client secret; name client_secret_file" in done.err


def test_run_runs_the_daemon_and_ends_with_its_status(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def run(settings: Any) -> int:
        seen.append(settings.bridge.store)
        return 1

    monkeypatch.setattr("bridge.daemon.run", run)
    assert invoke("run").exit_status == 1
    assert seen == ["AKL01"]

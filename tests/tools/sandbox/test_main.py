"""The program: ready line, exit status, options; a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests

from tools.sandbox import __main__ as program
from tools.sandbox.api import AUDIENCE
from tools.sandbox.client import SandboxError, started

TOP = Path(__file__).parents[3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_then_ended_by_a_signal_with_status_0(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tools.sandbox", "--port", "0"],
        cwd=TOP,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("event=ready url=http://127.0.0.1:")
        url = line.strip().partition("url=")[2]
        # One that waits must not keep it from ending.
        waiting = requests.get(f"{url}/sandbox/orders?at_least=1&wait_s=0.01")
        assert waiting.status_code == 200
        process.send_signal(number)
        assert process.wait(5) == 0
        assert process.stderr.read() == ""


def test_started_gives_a_client_and_its_options_count(tmp_path: Path) -> None:
    clients = tmp_path / "clients.toml"
    clients.write_text(
        '[[merchants]]\nid = "m9"\nname = "Nine"\n'
        '[[clients]]\nclient_id = "c"\nclient_secret = "s"\nmerchants = ["m9"]\n'
    )
    with started(
        "--clients", str(clients), "--auto", "--token-lifetime", "60", "--latency-ms", "1"
    ) as sandbox:
        assert sandbox.settings() == {"auto_s": 2.0, "latency_ms": 1.0, "callbacks": True}
        assert set(sandbox.books()["merchants"]) == {"m9"}
        token = requests.post(
            f"{sandbox.url}/oauth/token",
            data={
                "client_id": "c",
                "client_secret": "s",
                "audience": AUDIENCE,
                "grant_type": "client_credentials",
            },
        )
        assert token.json()["expires_in"] == 60


def test_other_names_another_clock_and_a_line_for_each_call() -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "tools.sandbox", "--port", "0", "--verbose", "--forget-keys"),
            *("--clock-offset", "-864000", "--api", "token_path=/token"),
        ],
        cwd=TOP,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        url = process.stderr.readline().strip().partition("url=")[2]
        refused = requests.post(f"{url}/token", data={"grant_type": "client_credentials"})
        assert refused.status_code == 403
        ahead = datetime.now(UTC) - parsedate_to_datetime(refused.headers["Date"])
        assert timedelta(days=9.9) < ahead < timedelta(days=10.1)
        assert process.stderr.readline().startswith("event=call call=token status=403 fault=-")
        process.terminate()
        assert process.wait(5) == 0


def test_what_does_not_start_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SandboxError, match="another --port"), started("--port", port):
            pass


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--clients", "merchants = 1 1", "not TOML"),
        ("--clients", "[[merchants]]\nid = 'm'", "'clients' is missing"),
        ("--clients", "[[merchants]]\nid = 'm'\n[[clients]]\nclient_id = 'c'", "client_secret"),
        ("--callback-key-file", "\n", "no key in it"),
    ],
)
def test_files_that_say_nothing_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, content: str, said: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content)
    assert program.main([option, str(file)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert str(file) in told


@pytest.mark.parametrize(
    "options",
    [["--clients", "/nowhere"], ["--api", "colour=blue"], ["--callback-pauses", "soon"]],
    ids=str,
)
def test_options_that_cannot_be(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(options) == 2
    assert capsys.readouterr().err.startswith("tools.sandbox: ")

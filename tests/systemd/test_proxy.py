"""The examples of proxies and tunnels: what they pass on, as text and, where the programs are installed, as run."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from bridge.config import SECTIONS
from bridge.config_values import Address
from bridge.health import Health
from bridge.http_server import HttpServer, Limits
from bridge.listener import Sources, application
from bridge.log import Log
from bridge.metrics import Metrics
from bridge.partpay.callback import BODY_MAX_BYTES
from tests.systemd.unit_file import SYSTEMD, unit
from tools.free_port import free_port

LISTENER = str(SECTIONS["listener"]["address"].default)
EXAMPLE = re.search(r'# callback_url = "(.*)"', (SYSTEMD.parent / "config/bridge.toml").read_text())
assert EXAMPLE is not None
CALLBACK_URL = EXAMPLE[1]
CALLBACK = "/partpay-callback"
WAIT_S = 10.0


def text(name: str) -> str:
    return (SYSTEMD / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["proxy/Caddyfile", "proxy/nginx.conf"])
def test_a_proxy_speaks_of_the_example_configurations_names(name: str) -> None:
    host = CALLBACK_URL.split("/")[2]
    assert f"https://{host}{CALLBACK}" == CALLBACK_URL
    assert host in text(name)
    assert CALLBACK in text(name)
    assert LISTENER in text(name)


@pytest.mark.parametrize("name", ["proxy/Caddyfile", "proxy/nginx.conf"])
def test_a_proxy_passes_on_two_routes_and_nothing_else(name: str) -> None:
    rules = re.findall(r"(?m)^\s*(?:handle|location(?: =)?)\s+(/\S*) \{", text(name))
    assert set(rules) - {"/"} == {CALLBACK, "/healthz"}


def test_the_tunnel_ends_at_the_listener_and_says_which_host_it_trusts() -> None:
    command = unit("tunnel/partpay-tunnel.service")["Service"]["ExecStart"][0]
    assert f"-R {LISTENER}:{LISTENER}" in " ".join(command.split())
    assert "StrictHostKeyChecking=yes" in command
    assert "ExitOnForwardFailure=yes" in command


class Listener:
    """The real application, whose callbacks nobody signed."""

    def __init__(self) -> None:
        self.submitted = 0
        metrics, log = Metrics(), Log(_Nowhere())

        def submit(callback: object) -> "Future[int]":
            self.submitted += 1
            answer: Future[int] = Future()
            answer.set_result(200)
            return answer

        health = Health(time.monotonic)
        sources = Sources(keys=lambda: {"": (b"key",)}, submit=submit, health=health.report)
        self.server = HttpServer(Address("127.0.0.1", 0), Limits(BODY_MAX_BYTES))
        self.server.start(application(CALLBACK, sources, metrics, log), lambda error: None)

    @property
    def address(self) -> str:
        return str(self.server.address)


class _Nowhere:
    def write(self, *about: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    with made.server:
        yield made


@contextmanager
def running(words: list[str], url: str) -> Iterator[None]:
    """The program, until it answers and as long as the `with` lasts."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        ends = time.monotonic() + WAIT_S
        while True:
            try:
                requests.get(url, timeout=2)
                break
            except requests.ConnectionError:
                if process.poll() is not None or time.monotonic() > ends:
                    raise AssertionError(f"{words[0]} does not answer: {''.join(said)}") from None
                threading.Event().wait(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()


def passes_on_what_the_page_says(base: str, listener: Listener) -> None:
    """The table of docs/behind-nat.md."""
    assert requests.get(f"{base}/healthz", timeout=5).status_code == 200
    assert requests.get(f"{base}{CALLBACK}", timeout=5).status_code == 405
    assert requests.post(f"{base}{CALLBACK}", data="orderId=1", timeout=5).status_code in (400, 401)
    for path in ("/metrics", "/", "/partpay-callback/more", "/healthz/../metrics", "//metrics"):
        assert requests.get(f"{base}{path}", timeout=5).status_code == 404, path
    large = b"x" * (BODY_MAX_BYTES + 1)
    assert requests.post(f"{base}{CALLBACK}", data=large, timeout=5).status_code == 413
    direct = requests.get(f"http://{listener.address}/metrics", timeout=5)
    assert direct.status_code == 200
    assert listener.submitted == 0


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
def test_caddy_in_front_of_the_listener(tmp_path: Path, listener: Listener) -> None:
    example = SYSTEMD / "proxy/Caddyfile"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(
        ["caddy", "validate", "--adapter", "caddyfile", "--config", str(example)],
        check=True,
        capture_output=True,
        env=environment,
    )
    port = free_port()
    config = tmp_path / "Caddyfile"
    # The same routes without the name: its certificate would be asked for at the real authority.
    body = text("proxy/Caddyfile").replace("shop.example.co.nz {", f"http://127.0.0.1:{port} {{")
    config.write_text("{\n\tadmin off\n}\n" + body.replace(LISTENER, listener.address))
    words = [
        "env",
        f"HOME={tmp_path}",
        "caddy",
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        str(config),
    ]
    with running(words, f"http://127.0.0.1:{port}/healthz"):
        passes_on_what_the_page_says(f"http://127.0.0.1:{port}", listener)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_in_front_of_the_listener(tmp_path: Path, listener: Listener) -> None:
    port = free_port()
    body = text("proxy/nginx.conf").replace(LISTENER, listener.address)
    body = re.sub(r"(?m)^\s*(ssl_\S+|listen \[::\]:443)\s.*$", "", body)
    body = body.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off;\nworker_processes 1;\npid {tmp_path}/pid;\nerror_log stderr;\n"
        "events {}\nhttp {\naccess_log off;\n"
        + "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + body
        + "}\n"
    )
    with running(
        ["nginx", "-c", str(config), "-p", str(tmp_path)], f"http://127.0.0.1:{port}/healthz"
    ):
        passes_on_what_the_page_says(f"http://127.0.0.1:{port}", listener)


@pytest.mark.skipif(shutil.which("wg-quick") is None, reason="wg-quick is not installed")
@pytest.mark.parametrize("side", ["shop", "relay"])
def test_wireguard_understands_both_ends(tmp_path: Path, side: str) -> None:
    key = subprocess.run(
        ["wg", "genkey"], check=True, capture_output=True, text=True
    ).stdout.strip()
    config = tmp_path / "partpay.conf"
    config.touch(mode=0o600)
    config.write_text(re.sub(r"= THE-\S+", f"= {key}", text(f"tunnel/{side}-wireguard.conf")))
    done = subprocess.run(
        ["wg-quick", "strip", str(config)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

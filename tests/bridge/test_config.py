import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from bridge.config import (
    SECTIONS,
    ConfirmCallbacks,
    Environment,
    LogFormat,
    Problem,
    Settings,
    load,
    notes,
    secret_problems,
)
from bridge.config import ConfigError as Faults
from bridge.config_values import Address
from bridge.partpay.api import Api
from bridge.toml_lines import key_lines

LEAST = """
[bridge]
store = "AKL01"
[partpay]
environment = "sandbox"
"""
EXAMPLE = Path(__file__).parents[2] / "config" / "bridge.toml"


def filled_in(example: str) -> str:
    return example.replace('store = "…"', 'store = "AKL01"').replace('_id = "…"', '_id = "abc"')


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "bridge.toml"
    file.write_text(text)
    return load(file, environ)


def faults(tmp_path: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(Faults) as caught:
        loaded(tmp_path, text)
    return caught.value.problems


def test_the_least_has_the_defaults_of_the_page(tmp_path: Path) -> None:
    settings = loaded(tmp_path, LEAST)
    assert settings.bridge.store == "AKL01"
    assert settings.bridge.state_dir == Path("/var/lib/partpay-bridge")
    assert (settings.bridge.currency, settings.bridge.currency_code) == ("NZD", 554)
    assert settings.bridge.zone.key == "Pacific/Auckland"
    assert settings.partpay.environment is Environment.SANDBOX
    assert settings.partpay.base_url == "https://api-ci.partpay.co.nz/"
    assert settings.partpay.token_url == "https://partpay-dev.au.auth0.com/oauth/token"
    assert settings.partpay.audience == "https://auth-dev.partpay.co.nz"
    assert settings.partpay.confirm_callbacks is ConfirmCallbacks.PREFER
    assert settings.partpay.callback_url is None
    assert settings.partpay.callback_path is None
    assert settings.partpay.api == Api()
    assert not settings.partpay.production
    assert settings.listener.address == Address("127.0.0.1", 8480)
    assert settings.control.socket == Path("/run/partpay-bridge/control.sock")
    assert settings.log.format is LogFormat.LOGFMT
    assert settings.journal.keep_days == 2557
    timing = settings.timing
    assert (timing.order_lifetime, timing.create_timeout, timing.cancel_timeout) == (300, 30, 20)
    assert (timing.poll_first, timing.poll_interval, timing.stored_alert) == (2, 3, 600)


def test_production_and_overrides(tmp_path: Path) -> None:
    text = LEAST.replace("sandbox", "production")
    partpay = loaded(tmp_path, text).partpay
    assert partpay.base_url == "https://api.partpay.co.nz/"
    assert partpay.production
    partpay = loaded(tmp_path, text + 'base_url = "https://zip.co/nz/api/"').partpay
    assert partpay.base_url == "https://zip.co/nz/api/"
    assert partpay.token_url == "https://partpay.au.auth0.com/oauth/token"


def test_custom_has_no_addresses_of_its_own(tmp_path: Path) -> None:
    found = faults(tmp_path, LEAST.replace("sandbox", "custom"))
    assert [problem.key for problem in found] == [
        "partpay.base_url",
        "partpay.token_url",
        "partpay.audience",
    ]
    custom = LEAST.replace("sandbox", "custom") + (
        'base_url = "http://127.0.0.1:9000/"\ntoken_url = "http://[::1]:9000/t"\naudience = "a"'
    )
    assert loaded(tmp_path, custom).partpay.base_url == "http://127.0.0.1:9000/"


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        '[bridge]\nstore = "AKL 01"\ntimezone = "Auckland"\n'
        '[partpay]\nenviroment = "sandbox"\n[timing]\ncancel_timeuot = 5\npoll_first = "2"\n',
    )
    told = {(problem.line, problem.key): problem for problem in found}
    assert told[2, "bridge.store"].what == '"AKL 01" cannot stand in a gateway reference'
    assert told[3, "bridge.timezone"].what == '"Auckland" is no time zone'
    assert told[4, "partpay.environment"].what == "is missing"
    assert told[5, "partpay.enviroment"].remedy == "did you mean environment?"
    assert told[7, "timing.cancel_timeuot"].remedy == "did you mean cancel_timeout?"
    assert told[8, "timing.poll_first"].what == "is text"
    assert [problem.line for problem in found] == [2, 3, 4, 5, 7, 8]
    assert str(told[7, "timing.cancel_timeuot"]) == (
        f"{tmp_path}/bridge.toml:7: timing.cancel_timeuot: is an unknown key; "
        "did you mean cancel_timeout?"
    )


@pytest.mark.parametrize(
    ("addition", "key", "remedy"),
    [
        ("[timings]\npoll_first = 2", "timings", "did you mean [timing]?"),
        ("[log]\nkeep_days = 7", "log.keep_days", "it belongs under [journal]"),
        ("[bridge.x]\na = 1", "bridge.x", "known: store, state_dir, currency, timezone"),
        ("[partpay.api]\ncreate_pth = '/x'", "partpay.api.create_pth", "did you mean create_path?"),
        ("[[log]]\nformat = 'json'", "log", "write it as a section: [log]"),
    ],
)
def test_what_is_unknown_is_a_fault(tmp_path: Path, addition: str, key: str, remedy: str) -> None:
    (problem,) = faults(tmp_path, LEAST + addition)
    assert (problem.key, problem.remedy) == (key, remedy)


def test_a_key_outside_of_any_section(tmp_path: Path) -> None:
    (problem,) = faults(tmp_path, 'timezone = "Pacific/Auckland"\n' + LEAST)
    assert (problem.line, problem.remedy) == (1, "it belongs under [bridge]")


@pytest.mark.parametrize(
    ("section", "line", "what"),
    [
        ("bridge", 'store = ""', "is empty"),
        ("bridge", "store = 7", "is a whole number"),
        ("bridge", "store = 2024-01-01", "is a date or time"),
        ("bridge", 'currency = "AUD"', "no currency of PartPay's"),
        ("bridge", 'state_dir = "state"', "no absolute path"),
        ("partpay", 'environment = "sandpit"', "not known"),
        ("partpay", 'base_url = "http://api.partpay.co.nz/"', "not encrypted"),
        ("partpay", 'base_url = "http://127.0.0.1.nip.invalid/"', "not encrypted"),
        ("partpay", 'base_url = "ftp://api.partpay.co.nz/"', "no web address"),
        ("partpay", 'base_url = "https://api.partpay.co.nz:99999/"', "no web address"),
        ("partpay", 'base_url = "https://api.partpay.co.nz/?a=1"', "more than a path"),
        ("partpay", 'callback_url = "https://shop.example/"', "has no path"),
        ("partpay", 'callback_url = "https://shop.example/healthz"', "cannot be the route"),
        ("partpay", 'callback_url = "https://shop.example/a/{b}"', "cannot be the route"),
        ("partpay", 'callback_url = "http://shop.example/callback"', "not encrypted"),
        ("partpay", 'confirm_callbacks = "sometimes"', "not known"),
        ("partpay", 'client_secret_file = "/x"', "no client_id"),
        ("partpay.api", 'order_path = "/order"', "must be a path that holds {order_id} once"),
        ("partpay.api", 'merchant_header = "two words"', "cannot be used as a header"),
        ("listener", 'address = "8480"', "no address with a port"),
        ("listener", 'address = "127.0.0.1:70000"', "no address with a port"),
        ("control", 'socket = "/%s"' % ("x" * 107), "longer than"),
        ("log", 'format = "xml"', "not known"),
        ("journal", "keep_days = 0", "out of range"),
        ("journal", "keep_days = true", "is true or false"),
        ("journal", "keep_days = 1.5", "is a number"),
        ("timing", "order_lifetime = 70000", "out of range"),
        ("timing", "order_lifetime = nan", "out of range"),
        ("timing", "poll_interval = 0", "out of range"),
    ],
)
def test_a_value_that_cannot_be(tmp_path: Path, section: str, line: str, what: str) -> None:
    key = line.partition(" ")[0]
    sections = {"bridge": ['store = "AKL01"'], "partpay": ['environment = "sandbox"']}
    kept = [other for other in sections.get(section, []) if not other.startswith(key)]
    sections[section] = [*kept, line]
    text = "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
    (problem,) = faults(tmp_path, text)
    assert problem.key == f"{section}.{key}"
    assert what in problem.what
    assert problem.remedy
    assert problem.line is not None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:8480", Address("::1", 8480)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses_to_listen_on(tmp_path: Path, address: str, expected: Address) -> None:
    settings = loaded(tmp_path, LEAST + f'[listener]\naddress = "{address}"')
    assert settings.listener.address == expected
    assert str(settings.listener.address) == address


def test_http_is_for_this_machine_alone(tmp_path: Path) -> None:
    text = LEAST + 'base_url = "http://localhost:9000"\ncallback_url = "http://127.0.0.1:1/c"'
    settings = loaded(tmp_path, text)
    assert settings.partpay.callback_path == "/c"


def test_no_fault_repeats_a_secret(tmp_path: Path) -> None:
    canary = "canary-4711"
    for line in (
        f'client_secret_file = "{canary}"',
        f'client_secret = "{canary}"',
        f'callback_key = "{canary}"',
        f'base_url = "https://user:{canary}@api.partpay.co.nz/"',
    ):
        found = faults(tmp_path, LEAST + line)
        assert canary not in "".join(str(problem) for problem in found)
    (problem,) = faults(tmp_path, LEAST + f'client_secret = "{canary}"')
    assert "client_secret_file" in problem.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [("[bridge]\nstore = AKL01\n", 2), ("[bridge]\n\nstore = 'a'\nstore = 'b'\n", 4), ("a = [", 1)],
)
def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    (problem,) = faults(tmp_path, text)
    assert problem.what.startswith("is not TOML")
    assert problem.line == line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Faults, match="No such file"):
        load(tmp_path / "missing.toml", {})
    with pytest.raises(Faults, match="Is a directory"):
        load(tmp_path, {})
    (tmp_path / "latin").write_bytes(b"[bridge]\nstore = '\xe9'\n")
    with pytest.raises(Faults, match="latin:2: is not UTF-8"):
        load(tmp_path / "latin", {})


def test_secrets_come_from_files_or_from_systemd(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("shh")
    secret.chmod(0o644)
    text = LEAST + f'client_id = "c"\nclient_secret_file = "{secret}"'
    settings = loaded(tmp_path, text)
    (problem,) = secret_problems(settings)
    assert (problem.line, problem.key) == (7, "partpay.client_secret_file")
    assert "can be read by others" in problem.what
    secret.chmod(0o600)
    assert secret_problems(settings) == ()

    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "partpay-client-secret").write_text("from systemd")
    (credentials / "partpay-callback-key").write_text("key")
    settings = loaded(tmp_path, LEAST + 'client_id = "c"', CREDENTIALS_DIRECTORY=str(credentials))
    assert settings.partpay.client_secret is not None
    assert settings.partpay.client_secret.read() == "from systemd"
    assert settings.partpay.callback_key is not None
    assert settings.partpay.callback_key.read_keys() == (b"key",)
    assert secret_problems(settings) == ()


def test_notes_name_what_is_left_out(tmp_path: Path) -> None:
    keys = [note.key for note in notes(loaded(tmp_path, LEAST + 'client_id = "c"'))]
    assert keys == ["partpay.client_id", "partpay.callback_url"]


def test_the_status_page_is_for_this_machine_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    assert loaded(tmp_path, LEAST).control.page == Address("127.0.0.1", 8482)
    assert loaded(tmp_path, LEAST + '[control]\npage = ""\n').control.page is None
    for page, told in (("192.0.2.7:8482", True), ("shop-pc:8482", True), ("[::1]:8482", False)):
        settings = loaded(tmp_path, LEAST + f'[control]\npage = "{page}"\n')
        assert ("control.page" in [note.key for note in notes(settings)]) is told
    (fault,) = faults(tmp_path, LEAST + '[control]\npage = "8482"\n')
    assert "control.page" in str(fault)


def test_the_example_is_right_and_names_every_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, filled_in(EXAMPLE.read_text()))
    assert settings.timing == loaded(tmp_path, LEAST).timing
    text = EXAMPLE.read_text()
    for section, keys in SECTIONS.items():
        part = text.split(f"[{section}]")[1].split("\n[")[0]
        for key in keys:
            assert re.search(rf"^(# )?{key} +=", part, re.MULTILINE), f"[{section}] {key}"


def test_the_example_is_no_configuration_before_it_is_filled_in(tmp_path: Path) -> None:
    found = faults(tmp_path, EXAMPLE.read_text())
    assert [problem.key for problem in found] == ["bridge.store", "partpay.client_id"]
    assert all("is still" in problem.what for problem in found)


def test_what_the_example_shows_commented_out_is_the_default(tmp_path: Path) -> None:
    least = loaded(tmp_path, LEAST)
    no_default = {"base_url", "token_url", "audience", "callback_key_file", "callback_url"}
    lines = []
    for line in filled_in(EXAMPLE.read_text()).splitlines():
        shown = re.fullmatch(r"# ([a-z_]+) = .*", line)
        lines.append(line[2:] if shown and shown[1] not in no_default else line)
    text = "\n".join(lines)
    assert set(tomllib.loads(text)["partpay"]["api"]) == {field.name for field in fields(Api)}
    shown = loaded(tmp_path, text)
    assert shown.partpay.api == least.partpay.api
    for section in ("bridge", "listener", "control", "log", "journal", "timing"):
        assert getattr(shown, section) == getattr(least, section)


def test_key_lines_see_through_strings_and_comments() -> None:
    text = (
        "# a = 1\n[ one . two ] # x\na.b = 1\n\"q\" = '''\nno = 2\n'''\nlist = [\n  \"x = 1\",\n]\n"
        "[[many]]\nlast=1"
    )
    assert key_lines(text) == {
        "one.two": 2,
        "one.two.a.b": 3,
        "one.two.q": 4,
        "one.two.list": 7,
        "many": 10,
        "many.last": 11,
    }

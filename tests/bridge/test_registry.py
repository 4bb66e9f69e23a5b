import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.registry import (
    SCHEMA,
    AlreadyThereError,
    Merchant,
    NotKnownError,
    NotRightError,
    Pairing,
    Port,
    Registry,
    SeveralMatchError,
    Snapshot,
    Who,
    WrongRegistryError,
)
from drivers.link.authentication import Keys

ALICE = Who("alice", 1000)
SHOES = Merchant("m-1", "Shoes")
HATS = Merchant("m-2", "Hats")
WHEN = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
DIALECTS = ("native", "classic")


def opened(path: Path, environment: str = "sandbox") -> Registry:
    return Registry(path, environment, dialects=DIALECTS, now=lambda: WHEN, environ={})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def registry(path: Path) -> Iterator[Registry]:
    with opened(path) as registry:
        registry.add_merchant(SHOES, ALICE)
        registry.add_merchant(HATS, ALICE)
        yield registry


def terminal(
    terminal_id: str = "T1",
    serial_number: str = "S1",
    port: str = "/dev/ttyUSB0",
    dialect: str = "native",
    merchants: tuple[str, ...] = ("m-1",),
) -> Pairing:
    return Pairing(0, terminal_id, serial_number, port, dialect, merchants=merchants)


def test_what_is_registered_is_there_after_a_restart(registry: Registry, path: Path) -> None:
    added = registry.add_terminal(terminal(merchants=("m-2", "m-1")), ALICE)
    registry.close()
    with opened(path) as again:
        assert again.snapshot == registry.snapshot
        assert again.snapshot.find("T1", "S1") == added
        assert again.snapshot.pairing(added.pairing) == added
        assert again.snapshot.terminal("T1") == added
        assert added.merchants == ("m-2", "m-1")
        assert again.snapshot.merchant("m-1") == SHOES
        assert again.snapshot.usable == {"m-1", "m-2"}
        assert again.snapshot.ports == (Port("/dev/ttyUSB0", "native", 115_200),)


def test_only_the_owner_can_read_the_file(registry: Registry, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert registry.snapshot.merchants


def test_the_same_pair_keeps_its_number(registry: Registry) -> None:
    first = registry.add_terminal(terminal(), ALICE)
    registry.add_terminal(terminal("T2", "S2"), ALICE)
    again = registry.add_terminal(terminal(merchants=("m-2",)), ALICE)
    assert again.pairing == first.pairing
    assert again.merchants == ("m-2",)
    registry.remove_terminal("T1", ALICE)
    assert registry.add_terminal(terminal(), ALICE).pairing == first.pairing


def test_another_serial_number_is_another_pairing_and_replaces_the_first(
    registry: Registry,
) -> None:
    first = registry.add_terminal(terminal(), ALICE)
    second = registry.add_terminal(terminal(serial_number="S2"), ALICE)
    assert second.pairing != first.pairing
    snapshot = registry.snapshot
    assert snapshot.terminal("T1") == second
    old = snapshot.find("T1", "S1")
    assert old is not None
    assert old.retired
    assert registry.add_terminal(terminal(), ALICE).pairing == first.pairing
    assert registry.terminal("T1").serial_number == "S1"


def test_numbers_are_never_given_again(registry: Registry, path: Path) -> None:
    numbers = [registry.add_terminal(terminal(serial_number=f"S{n}"), ALICE).pairing for n in "123"]
    assert len(set(numbers)) == 3
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'pairings'").fetchone() == (
            max(numbers),
        )


def test_what_is_removed_is_retired_and_still_found(registry: Registry) -> None:
    added = registry.add_terminal(terminal(), ALICE)
    registry.remove_terminal("T1", ALICE)
    registry.remove_merchant("m-1", ALICE)
    snapshot = registry.snapshot
    assert snapshot.terminal("T1") is None
    assert snapshot.ports == ()
    assert "m-1" not in snapshot.usable
    merchant = snapshot.merchant("m-1")
    assert merchant is not None
    assert merchant.retired
    found = snapshot.pairing(added.pairing)
    assert found is not None
    assert found.retired
    with pytest.raises(NotKnownError, match="was removed"):
        registry.set_terminal("T1", {"baud": 9600}, ALICE)
    with pytest.raises(NotKnownError, match="was removed"):
        registry.set_merchant("m-1", {"name": "x"}, ALICE)


def test_a_removed_merchant_comes_back(registry: Registry) -> None:
    with pytest.raises(AlreadyThereError, match="merchants set m-1"):
        registry.add_merchant(SHOES, ALICE)
    registry.remove_merchant("m-1", ALICE)
    registry.add_merchant(Merchant("m-1", "Boots"), ALICE)
    assert registry.merchant("m-1") == Merchant("m-1", "Boots")


def test_set_changes_what_is_named(registry: Registry) -> None:
    registry.add_terminal(terminal(), ALICE)
    changed = registry.set_terminal("T1", {"baud": 9600, "display": "escpos:/dev/lp0"}, ALICE)
    assert (changed.baud, changed.display, changed.port) == (
        9600,
        "escpos:/dev/lp0",
        "/dev/ttyUSB0",
    )
    assert registry.set_terminal("T1/S1", {"display": None}, ALICE).display is None


def test_a_terminal_key_that_several_had(registry: Registry) -> None:
    for serial_number in ("S1", "S2"):
        registry.add_terminal(terminal(serial_number=serial_number), ALICE)
    registry.remove_terminal("T1", ALICE)
    with pytest.raises(SeveralMatchError, match="T1/S1, T1/S2"):
        registry.terminal("T1")
    assert registry.terminal("T1/S2").serial_number == "S2"
    with pytest.raises(NotKnownError):
        registry.terminal("T9")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (terminal(terminal_id=""), "0 characters"),
        (terminal(terminal_id="123456789"), "9 characters"),
        (terminal(terminal_id="T1 "), "spaces at an end"),
        (terminal(terminal_id="Té"), "other characters"),
        (terminal(serial_number="a\nb"), "cannot be printed"),
        (terminal(port=""), "port has 0"),
        (terminal(dialect="klingon"), "no dialect"),
        (terminal(merchants=()), "needs a merchant"),
        (terminal(merchants=("m-1", "m-1")), "named twice"),
        (terminal(merchants=("m-1", "m-9")), "no merchant m-9"),
        (Pairing(0, "T1", "S1", "/dev/x", baud=300, merchants=("m-1",)), "out of range"),
        (Pairing(0, "T1", "S1", "/dev/x", merchants=("m-1",), profile=" "), "profile"),
    ],
)
def test_a_terminal_that_cannot_be(registry: Registry, wrong: Pairing, what: str) -> None:
    before = registry.snapshot
    with pytest.raises(NotRightError, match=what):
        registry.add_terminal(wrong, ALICE)
    assert registry.snapshot == before


def test_terminals_on_one_port_speak_alike(registry: Registry) -> None:
    registry.add_terminal(terminal(), ALICE)
    with pytest.raises(AlreadyThereError, match="speaks native at 115200 baud, for terminal T1"):
        registry.add_terminal(terminal("T2", "S2", dialect="classic"), ALICE)
    registry.add_terminal(terminal("T2", "S2"), ALICE)
    assert len(registry.snapshot.ports) == 1


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (Merchant("m 3", "Name"), "other characters"),
        (Merchant("m" * 37, "Name"), "37 characters"),
        (Merchant("m-3", ""), "name has 0"),
        (Merchant("m-3", "Name", client_id="c"), "go together"),
        (Merchant("m-3", "Name", "c", "relative"), "no absolute path"),
        (Merchant("m-3", "Name", "c", "/nowhere/secret"), "No such file"),
        (Merchant("m-3", "Name", callback_key_file="/nowhere/key"), "No such file"),
    ],
)
def test_a_merchant_that_cannot_be(registry: Registry, wrong: Merchant, what: str) -> None:
    before = registry.snapshot
    with pytest.raises(NotRightError, match=what):
        registry.add_merchant(wrong, ALICE)
    assert registry.snapshot == before


def test_a_secret_that_others_can_read_is_refused(registry: Registry, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("shh")
    secret.chmod(0o640)
    merchant = Merchant("m-3", "Name", "c", str(secret), str(secret))
    with pytest.raises(NotRightError, match="can be read by others"):
        registry.add_merchant(merchant, ALICE)
    secret.chmod(0o600)
    assert registry.add_merchant(merchant, ALICE) == registry.snapshot.merchant("m-3")


def test_import_is_all_or_nothing(registry: Registry) -> None:
    rows = [SHOES, Merchant("m-2", "Caps"), Merchant("m-3", "Bags")]
    with pytest.raises(NotRightError):
        registry.import_merchants([*rows, Merchant("m-4", "")], ALICE)
    assert registry.snapshot.merchant("m-3") is None
    assert registry.snapshot.merchant("m-2") == HATS
    assert registry.import_merchants(rows, ALICE) == {
        "added": ["m-3"],
        "changed": ["m-2"],
        "unchanged": ["m-1"],
    }


def test_each_change_says_who_and_when_and_what_it_was(registry: Registry) -> None:
    registry.set_merchant("m-1", {"name": "Boots"}, Who("bob", 1001))
    registry.set_merchant("m-1", {"name": "Boots"}, Who("bob", 1001))
    added, changed = registry.history("merchant", "m-1")
    assert (added.who, added.uid, added.action, added.was) == ("alice", 1000, "add", None)
    assert (changed.who, changed.uid, changed.action) == ("bob", 1001, "set")
    assert changed.at == "2024-05-06T07:08:09.000+00:00"
    assert changed.was is not None
    assert (changed.was["name"], changed.became["name"]) == ("Shoes", "Boots")


def test_listeners_get_each_new_snapshot_and_none_for_a_refusal(registry: Registry) -> None:
    seen: list[Snapshot] = []
    registry.on_change(seen.append)
    added = registry.add_terminal(terminal(), ALICE)
    with pytest.raises(NotRightError):
        registry.add_terminal(terminal("T2", merchants=()), ALICE)
    assert [snapshot.terminal("T1") for snapshot in seen] == [added]


def test_an_empty_one_is_of_whatever_environment_is_meant(tmp_path: Path) -> None:
    """`terminals list` on a fresh installation made one for the environment of the example."""
    opened(tmp_path / "registry.db").close()
    opened(tmp_path / "registry.db", "production").close()
    opened(tmp_path / "registry.db", "production").close()


def test_another_environment_is_left_untouched(registry: Registry, path: Path) -> None:
    registry.close()
    before = path.read_bytes()
    with pytest.raises(WrongRegistryError, match="of PartPay's sandbox environment"):
        opened(path, "production")
    assert path.read_bytes() == before


def test_a_newer_schema_is_left_untouched(registry: Registry, path: Path) -> None:
    registry.close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(WrongRegistryError, match="newer release"):
        opened(path)


def test_threads_may_change_it_at_once(registry: Registry) -> None:
    def add(number: int) -> None:
        registry.add_terminal(terminal(f"T{number}"), ALICE)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(registry.snapshot.pairings) == 8


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("AB"), st.sampled_from("123")),
        st.tuples(st.just("remove"), st.sampled_from("AB"), st.just("")),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=25, deadline=None)
def test_a_terminal_id_is_one_device_and_a_pair_is_one_number(
    steps: list[tuple[str, str, str]],
) -> None:
    numbers: dict[tuple[str, str], int] = {}
    with TemporaryDirectory() as directory, opened(Path(directory) / "registry.db") as registry:
        registry.add_merchant(SHOES, ALICE)
        for action, terminal_id, serial_number in steps:
            if action == "add":
                added = registry.add_terminal(terminal(terminal_id, serial_number), ALICE)
                pair = (terminal_id, serial_number)
                assert numbers.setdefault(pair, added.pairing) == added.pairing
                assert registry.snapshot.terminal(terminal_id) == added
            elif registry.snapshot.terminal(terminal_id) is not None:
                registry.remove_terminal(terminal_id, ALICE)
            active = [one.terminal_id for one in registry.snapshot.pairings if not one.retired]
            assert len(active) == len(set(active))
        assert len(set(numbers.values())) == len(numbers)


# -- keys of the authenticated link


def keys(number: int) -> Keys:
    return Keys(bytes([number]) * 32, bytes([number + 100]) * 32)


OLD, NEW, NEWEST = keys(1), keys(2), keys(3)


def test_keys_are_kept_beside_each_other_until_a_newer_one_has_proved_itself(
    registry: Registry, path: Path
) -> None:
    assert registry.snapshot.keys_of("T1", "S1") == ()
    for one in (OLD, NEW, NEWEST):
        registry.keep_keys("T1", "S1", one, ALICE)
    registry.keep_keys("T2", "S2", keys(9), ALICE)
    registry.keys_proved("T1", "S1", OLD.identifier, ALICE)
    assert registry.snapshot.keys_of("T1", "S1") == (NEWEST, NEW, OLD)
    registry.keys_proved("T1", "S1", NEW.identifier, ALICE)
    registry.keys_proved("T1", "S1", NEW.identifier, ALICE)
    registry.keys_proved("T1", "S1", b"none", ALICE)
    assert registry.snapshot.keys_of("T1", "S1") == (NEWEST, NEW)
    registry.close()
    with opened(path) as again:
        assert again.snapshot == registry.snapshot
        assert again.snapshot.keyed == {("T1", "S1"), ("T2", "S2")}
        assert again.snapshot.keys_of("T1", "S1") == (NEWEST, NEW)


def test_keys_outlive_their_terminal_and_are_forgotten_by_command_alone(registry: Registry) -> None:
    registry.keep_keys("T1", "S1", OLD, ALICE)
    registry.add_terminal(terminal(), ALICE)
    registry.remove_terminal("T1", ALICE)
    registry.add_terminal(terminal(serial_number="S2"), ALICE)
    assert registry.snapshot.keys_of("T1", "S1") == (OLD,)
    with pytest.raises(NotKnownError, match="T1/S2 has no keys"):
        registry.forget_keys("T1", ALICE)
    assert registry.forget_keys("T1/S1", ALICE) == ("T1", "S1")
    assert registry.snapshot.keyed == set()
    registry.keep_keys("T9", "S9", OLD, ALICE)
    assert registry.forget_keys("T9/S9", ALICE) == ("T9", "S9")
    with pytest.raises(NotKnownError, match="no terminal T9"):
        registry.forget_keys("T9", ALICE)


def test_keys_are_told_to_nobody(registry: Registry, path: Path) -> None:
    registry.keep_keys("T1", "S1", OLD, ALICE)
    registry.keep_keys("T1", "S1", NEW, ALICE)
    registry.keys_proved("T1", "S1", NEW.identifier, ALICE)
    told = [(one.action, one.was, one.became) for one in registry.history("keys", "T1/S1")]
    assert told == [
        ("pair", {"key_sets": 0}, {"key_sets": 1}),
        ("pair", {"key_sets": 1}, {"key_sets": 2}),
        ("proved", {"key_sets": 2}, {"key_sets": 1}),
    ]
    shown = repr(registry.snapshot) + repr(told)
    for secret in (NEW.to_bridge, NEW.to_terminal):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    registry.forget_keys("T1/S1", ALICE)
    registry.close()
    stored = b"".join(one.read_bytes() for one in path.parent.iterdir())
    for gone in (OLD, NEW):
        assert gone.to_bridge not in stored


def test_a_file_that_others_could_read_is_closed_to_them(registry: Registry, path: Path) -> None:
    registry.close()
    path.chmod(0o644)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_first_schema_is_brought_up_to_date_after_a_copy(path: Path) -> None:
    first = (Path(__file__).parent / "registry_schema_1.sql").read_text()
    with sqlite3.connect(path) as db:
        db.executescript(first)
    before = path.read_bytes()
    with pytest.raises(WrongRegistryError, match="another state_dir"):
        opened(path, "production")
    assert path.read_bytes() == before
    with opened(path) as registry:
        known = registry.snapshot.find("T1", "S1")
        assert known == Pairing(
            7, "T1", "S1", "/dev/ttyUSB0", "classic", 9600, ("m-1",), "mono-128x64", None
        )
        registry.set_terminal("T1", {"name": "Till 2"}, ALICE)
        registry.keep_keys("T1", "S1", OLD, ALICE)
    copy = path.with_name("registry.schema-1.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT terminal_id FROM pairings").fetchall() == [("T1",)]
    with opened(path) as again:
        assert again.snapshot.pairing(7).name == "Till 2"  # type: ignore[union-attr]


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    first = (Path(__file__).parent / "registry_schema_1.sql").read_text()
    with sqlite3.connect(path) as db:
        db.executescript(first + "CREATE TABLE keys (odd TEXT);")
    with pytest.raises(sqlite3.OperationalError):
        opened(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        columns = [row[1] for row in db.execute("PRAGMA table_info(pairings)")]
    assert "name" not in columns

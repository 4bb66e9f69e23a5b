"""docs/terminal-link.md says what the code does: its tables, its numbers, and every byte of its examples.

Firmware is written from that page by people who never see this code.
"""

from __future__ import annotations

import ctypes
import hashlib
import hmac
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import book, lane, outcomes, switchboard
from drivers.display.geometry import DoesNotFit, Panel, place
from drivers.display.packbits import unpack
from drivers.display.raster import BUILT_IN, show
from drivers.display.reading import bytes_in
from drivers.link import image_transfer, messages, pairing, session
from drivers.link.authentication import (
    PAIRING_TYPES,
    UNCODED_TYPES,
    CodedSession,
    Keys,
    Verdict,
)
from drivers.link.dialect import DIALECTS
from drivers.link.framing import (
    BODY_MAX_BYTES,
    BODY_MIN_BYTES,
    MAX_BODY_LEAST_BYTES,
    Frame,
    FrameEvent,
)
from drivers.link.framing.crc16 import crc16
from drivers.link.framing.stx_lrc import lrc
from drivers.link.messages import (
    BY_TYPE,
    CODE,
    FROM_BRIDGE,
    MESSAGE_COUNTER,
    OBJECTS,
    REQUIRED,
    RESPONSE_CODES,
    TEXT_CHECK,
    Format,
    ImageShown,
    Reason,
    Role,
)
from tests.docs.page import TOP, Page
from tests.drivers.link.link_examples import AUTHENTICATED, LINK, TYPE_BY_NAME
from tools.terminal import core, storage

PAGE = Page("docs/terminal-link.md")
NATIVE, CLASSIC = DIALECTS["native"], DIALECTS["classic"]


def from_hex(text: str) -> bytes:
    return bytes.fromhex("".join(text.split()))


# -- tables


def test_the_data_dictionary_is_the_one_of_the_code() -> None:
    told = {}
    for tag, name, form, length, _ in PAGE.rows("objects"):
        told[int(tag, 16)] = (name, form, length)
    expected = {}
    for tag, row in OBJECTS.items():
        length = f"to {row.max_bytes}" if row.min_bytes != row.max_bytes else str(row.max_bytes)
        expected[tag] = (row.name, row.format.value, length)
    expected[0xDF1A] = ("data", "b", "as fits")
    assert told == expected
    assert OBJECTS[0xDF1A].max_bytes >= BODY_MAX_BYTES


def test_the_messages_are_those_of_the_code() -> None:
    told = {}
    for type_code, name, must, may, _ in PAGE.rows("messages"):
        told[int(type_code, 16)] = (name, must.split(), may.split())
    expected = {}
    for type_code, kind in BY_TYPE.items():
        tags = {True: [], False: []}
        for tag in kind.tags:
            row = OBJECTS[tag]
            tags[row.name in REQUIRED[type_code]].append(row.tag_hex)
        expected[type_code] = (kind.type_name, tags[True], tags[False])
    assert {
        code: (name, sorted(must), sorted(may)) for code, (name, must, may) in told.items()
    } == {code: (name, sorted(must), sorted(may)) for code, (name, must, may) in expected.items()}


def test_every_object_belongs_to_a_message_or_to_the_envelope() -> None:
    used = {tag for kind in BY_TYPE.values() for tag in kind.tags}
    assert used | {MESSAGE_COUNTER.tag, TEXT_CHECK.tag, CODE.tag} == set(OBJECTS)


def test_the_response_codes_are_those_of_the_code() -> None:
    rows = PAGE.rows("codes")
    assert {code for code, *_ in rows} == RESPONSE_CODES
    assert {code for code, _, money in rows if not money.startswith("not")} == {outcomes.APPROVED}


def test_the_reasons_are_those_of_the_code_in_their_order() -> None:
    rows = PAGE.rows("reasons")
    assert [int(place) for place, *_ in rows] == list(range(1, len(Reason) + 1))
    assert [int(reason) for _, reason, *_ in rows] == [9, 6, 11, 1, 3, 4, 5, 7, 2, 8, 10]
    assert {int(reason) for _, reason, *_ in rows} == set(Reason) == set(outcomes.REFUSALS)
    answered = {name for *_, names in rows for name in re.findall(r"[A-Z_]{4,}", names)}
    assert answered <= set(TYPE_BY_NAME)


def test_the_reasons_that_end_a_sale_are_those_of_the_simulated_terminal() -> None:
    assert core.ENDS_SALE[storage.Kind.TENDER] == {1, 4, 5, 7, 10}
    assert core.ENDS_SALE[storage.Kind.REFUND] == {1, 4, 5, 7, 10, 2, 8}
    assert "| REFUSED 1, 4, 5, 7 or 10 of this TENDER or REFUND |" in PAGE.text
    assert "| REFUSED 2 or 8 of this REFUND |" in PAGE.text


def test_the_image_formats_are_those_that_can_be_made() -> None:
    assert [int(code, 16) for code, _ in PAGE.rows("image formats")] == sorted(
        made.code for made in BUILT_IN
    )


def test_the_image_statuses_are_those_of_the_code() -> None:
    assert [int(status) for status, *_ in PAGE.rows("image statuses")] == sorted(ImageShown)


TIMERS = {
    "T1": [session.OVERTAKEN_WAIT_S],
    "T2": [session.ANSWER_TIMEOUT_S],
    "T3": [session.NAK_PAUSES_S[0]],
    "T4": [session.NAK_PAUSES_S[1]],
    "T5": [session.LATE_ANSWERS_S],
    "T6": [session.BYTE_GAP_S],
    "T7": [1 / image_transfer.PIECES_A_SECOND],
    "T8": [core.HELLO_AGAIN_S],
    "T9": [core.HELLO_UNPAIRED_S],
    "T10": [lane.IDENTIFY_EVERY_S],
    "T11": [switchboard.ANSWER_WAIT_S],
    "T12": [core.SAY_AGAIN_S],
    "T13": [core.PATIENCE_S],
    "T14": [core.SLOWLY_S],
    "T15": [core.SILENCE_S],
    "T16": [core.PING_S],
    "T17": [10.0],
    "T18": [*book.OUTCOME_PAUSES_S, book.OUTCOME_PAUSES_S[-1]],
    "T19": [image_transfer.STATUS_TIMEOUT_S],
    "T20": [pairing.PAIRING_TIME_S],
    "T21": [core.HELLO_AGAIN_S],
    "T22": [core.NO_WELCOME_S],
    "T23": [lane.NOT_AUTHENTICATED_EVERY_S],
}

LIMITS = {
    "L1": BODY_MIN_BYTES,
    "L2": BODY_MAX_BYTES,
    "L3": MAX_BODY_LEAST_BYTES,
    "L4": image_transfer.BODY_LEAST_BYTES,
    "L5": session.SENT_TIMES_MAX,
    "L6": image_transfer.TRIES_MAX,
    "L7": storage.OUTCOMES_KEPT,
}


def test_every_timer_has_the_value_of_the_code() -> None:
    told = {
        name: [float(number) for number in re.findall(r"[0-9.]+", value)]
        for name, _, _, value in PAGE.rows("timers")
    }
    assert told == TIMERS
    assert TIMERS["T17"][0] > book.PROGRESS_S


def test_every_limit_has_the_value_of_the_code() -> None:
    assert {name: int(value) for name, _, value, _ in PAGE.rows("limits")} == LIMITS


@pytest.mark.parametrize("letter", "DBTL")
def test_what_is_referred_to_is_there(letter: str) -> None:
    text = PAGE.text
    defined = set(re.findall(rf"^(?:- \*\*|\| )({letter}[1-9]\d?)(?:\*\*| \|)", text, re.MULTILINE))
    used = set(re.findall(rf"(?<=[ (])({letter}[1-9]\d?)(?=[ ),.:;])", text))
    assert used <= defined
    assert defined == {f"{letter}{number}" for number in range(1, len(defined) + 1)}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.text):
        assert (TOP / "docs" / target).exists(), target


# -- frames


def machine(name: str) -> dict[tuple[str, int], tuple[list[str], str]]:
    """The page's state table: (state, byte) -> what to do, next state."""
    steps: dict[tuple[str, int], tuple[list[str], str]] = {}
    for state, which, do, following in PAGE.rows(name):
        if which == "other":
            chosen = [byte for byte in range(256) if (state, byte) not in steps]
        elif ".." in which:
            first, last = which.split("..")
            chosen = list(range(int(first, 16), int(last, 16) + 1))
        else:
            chosen = [int(which, 16)]
        for byte in chosen:
            assert (state, byte) not in steps, f"{state} has {byte:02X} twice"
            steps[state, byte] = (do.split(", "), following)
    return steps


def by_the_page(name: str, data: bytes, max_body: int) -> list[str]:
    """What a receiver that is nothing but the page's table makes of `data`."""
    steps, state = machine(name), "between"
    body, check, spoilt, events = bytearray(), bytearray(), False, []
    place = 0
    while place < len(data):
        byte = data[place]
        actions, following = steps[state, byte]
        for action in actions:
            match action:
                case "nothing" | "again":
                    pass
                case "ack" | "nak":
                    events.append(action)
                case "begin":
                    body, check, spoilt = bytearray(), bytearray(), False
                case "keep":
                    body.append(byte)
                case "spoil":
                    spoilt = True
                case "check":
                    check.append(byte)
                case "judge":
                    events.append(judged(name, bytes(body), bytes(check), spoilt, max_body))
                    body, check, spoilt = bytearray(), bytearray(), False
                case _:
                    raise AssertionError(action)
        place += "again" not in actions
        state = following
    return events


def judged(name: str, body: bytes, check: bytes, spoilt: bool, max_body: int) -> str:
    right = (
        crc16(body + b"\x03").to_bytes(2, "little")
        if name == "dle-crc16"
        else bytes((lrc(body + b"\x03"),))
    )
    wrong = spoilt or check != right or not BODY_MIN_BYTES <= len(body) <= max_body or not body[0]
    return "bad" if wrong else f"frame {body.hex()}"


def in_words(event: FrameEvent) -> str:
    if isinstance(event, Frame):
        return f"frame {event.body.hex()}"
    return type(event).__name__.lower()


def by_the_code(name: str, data: bytes, max_body: int) -> list[str]:
    dialect = NATIVE if name == "dle-crc16" else CLASSIC
    return [in_words(event) for event in dialect.framing.decoder(max_body).feed(data)]


@pytest.mark.parametrize("dialect", [NATIVE, CLASSIC], ids=lambda dialect: dialect.name)
def test_the_state_table_makes_of_the_vectors_what_they_say(dialect: object) -> None:
    name = dialect.framing.name
    for vector in LINK["streams"][dialect.name]:
        assert by_the_page(name, from_hex(vector["bytes"]), BODY_MAX_BYTES) == vector["does"]


_PIECES = st.sampled_from(
    [
        *(bytes((byte,)) for byte in (0x00, 0x02, 0x03, 0x06, 0x10, 0x15, 0x1C, 0x41, 0x7F, 0xC4)),
        *(from_hex(v["native"]["frame"]) for v in LINK["messages"][:6]),
        *(from_hex(v["classic"]["frame"]) for v in LINK["messages"][:6]),
        b"\x10\x02",
        b"\x10\x03",
        b"x" * 100,
    ]
)


@pytest.mark.parametrize("name", ["dle-crc16", "stx-lrc"])
@given(pieces=st.lists(_PIECES | st.binary(max_size=6), max_size=12))
def test_the_state_table_is_the_decoder_of_the_code(name: str, pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    assert by_the_page(name, data, 120) == by_the_code(name, data, 120)


# -- examples


def frames(kind: str) -> list[str]:
    return [vector[kind]["frame"] for vector in LINK["messages"]]


@pytest.mark.parametrize("dialect", ["native", "classic"])
def test_the_dissected_frames_are_vectors(dialect: str) -> None:
    data = b"".join(from_hex(part) for part, _ in PAGE.rows(f"dissected {dialect}"))
    tender = next(v for v in LINK["messages"] if (v["type"], v["seq"]) == ("TENDER", 2))
    assert data.hex() == tender[dialect]["frame"]


def test_each_part_of_a_dissected_frame_says_what_it_is() -> None:
    for dialect in ("native", "classic"):
        for part, meaning in PAGE.rows(f"dissected {dialect}"):
            quoted = re.match(r"`?([^`]+)`?", meaning)
            text = from_hex(part).lstrip(b"\x1c").decode("latin-1")
            if text.isprintable() and len(text) > 2 and quoted is not None:
                assert quoted[1].startswith(text) or text in meaning, (part, meaning)


@pytest.mark.parametrize("block", PAGE.blocks("hex", "native", "body"), ids=lambda b: b.words[-1])
def test_a_body_in_hex_is_a_vector(block: object) -> None:
    body = from_hex(block.text)
    decoded = NATIVE.encoding.decode(body)
    assert decoded.message.type_name == block.words[-1]
    assert NATIVE.encoding.encode(decoded.message, decoded.sequence) == body
    assert body.hex() in {vector["native"]["body"] for vector in LINK["messages"]}


@pytest.mark.parametrize("block", PAGE.blocks("fs"), ids=lambda b: b.words[-1])
def test_a_body_in_text_is_a_vector(block: object) -> None:
    body = block.text.rstrip("\n").replace("␜", "\x1c").encode()
    decoded = CLASSIC.encoding.decode(body)
    assert decoded.message.type_name == block.words[-1]
    assert CLASSIC.encoding.encode(decoded.message, decoded.sequence) == body
    assert body.hex() in {vector["classic"]["body"] for vector in LINK["messages"]}


def test_there_are_examples_of_both_encodings() -> None:
    assert len(PAGE.blocks("hex", "native", "body")) >= 2
    assert len(PAGE.blocks("fs")) >= 3


def test_conversations_say_what_each_end_may_say() -> None:
    diagrams = PAGE.blocks("mermaid")
    assert len(diagrams) >= 5
    for diagram in diagrams:
        for sender, name in re.findall(r"^\s+(T|B)->>[TB]: ([A-Z_]+)", diagram.text, re.MULTILINE):
            assert (TYPE_BY_NAME[name].type_code >= FROM_BRIDGE) is (sender == "B"), name
    said = set(re.findall(r"->>[TB]: ([A-Z_]+)", PAGE.text))
    assert said >= {"HELLO", "TENDER", "CANCEL", "QUERY", "REFUND", "STORED", "OUTCOME", "PAIR_KEY"}


@pytest.mark.parametrize("path", ["docs/terminal-link.md", "docs/architecture.md"])
def test_diagrams_have_no_semicolon_which_would_end_a_line(path: str) -> None:
    for diagram in Page(path).blocks("mermaid"):
        assert ";" not in diagram.text


def test_every_word_in_capitals_is_a_message() -> None:
    for name in set(re.findall(r"\b[A-Z]{2,}_[A-Z]+\b", PAGE.text)):
        assert name in TYPE_BY_NAME, name


def test_every_tag_that_is_named_is_in_the_dictionary() -> None:
    named = set(re.findall(r"\b(?:DF[0-9A-F]{2}|9F[0-9A-F]{2}|5F2A|8A|9A)\b", PAGE.text))
    assert {int(tag, 16) for tag in named} - {0xDF2F} == set(OBJECTS)


# -- images


def drawn(block_words: tuple[str, ...]) -> list[str]:
    (block,) = PAGE.blocks(*block_words)
    return block.text.splitlines()


@pytest.mark.parametrize("block", PAGE.blocks("hex", "image"), ids=lambda b: b.words[2])
def test_an_image_in_hex_is_the_picture_that_is_drawn(block: object) -> None:
    code, (width, height) = int(block.words[2], 16), map(int, block.words[3].split("x"))
    data = from_hex(block.text)
    if code & 0x7F == 0x10:
        rows = drawn(("text", "modules", str(width)))
        panel = Panel(width + 8, height + 8, inverted=False)
        picture = show(code, width, height, data, panel).crop((4, 4, 4 + width, 4 + height))
    else:
        rows = drawn(("text", "picture", block.words[3]))
        picture = show(code, width, height, data, Panel(width, height))
    assert (len(rows), {len(row) for row in rows}) == (height, {width})
    seen = [
        "".join("#" if picture.getpixel((x, y)) < 128 else "." for x in range(width))
        for y in range(height)
    ]
    assert seen == rows


def test_the_code_that_is_drawn_says_what_the_page_says() -> None:
    (block,) = PAGE.blocks("hex", "image", "10")
    shown = show(0x10, 21, 21, from_hex(block.text), Panel(116, 116))
    assert bytes_in(shown) == {b"PARTPAY"}
    assert "This code says `PARTPAY`" in PAGE.text


def test_packbits_are_those_of_the_vectors() -> None:
    (image,) = LINK["images"]
    packed = made = b""
    for data, what in PAGE.rows("packbits"):
        times = re.fullmatch(r"(\d+) times (..)", what)
        packed += from_hex(data)
        made += bytes((int(times[2], 16),)) * int(times[1]) if times else from_hex(what)
    assert (packed.hex(), made.hex()) == (image["data"], image["unpacked"])
    assert unpack(packed, len(made)) == made


def test_codes_stand_on_panels_as_the_page_says() -> None:
    (head,) = re.findall(r"^\| modules a side \| (.+) \|$", PAGE.text, re.MULTILINE)
    panels = [Panel(*map(int, cell.split(" × "))) for cell in head.split(" | ")]
    for side, *cells in PAGE.rows("placement"):
        for panel, cell in zip(panels, cells, strict=True):
            stands = place(int(side), panel)
            told = (
                "none"
                if isinstance(stands, DoesNotFit)
                else f"{stands.module_px} / {stands.quiet_modules}"
            )
            assert cell == told, f"{side} modules on {panel}"


# -- the authenticated link, from the page's numbers alone


def worked() -> dict[str, str]:
    return dict(PAGE.rows("worked pairing"))


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """As the page says it: for 32 bytes."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def test_the_numbers_of_the_pairing_are_the_vectors() -> None:
    for name, value in worked().items():
        assert AUTHENTICATED[name] == value


def test_the_numbers_of_the_pairing_follow_from_its_formulas() -> None:
    told = worked()
    secret = from_hex(told["shared_secret"])
    public = [from_hex(told[f"{end}_public"]) for end in ("bridge", "terminal")]
    nonces = [from_hex(told[f"{end}_nonce"]) for end in ("bridge", "terminal")]
    for own, other in ((0, 1), (1, 0)):
        private = from_hex(told[f"{('bridge', 'terminal')[own]}_private"])
        share = pairing.Share(private, nonces[own])
        assert share.public_key == public[own]
        assert share.shared_secret(public[other]) == secret
    salt = b"".join(nonces)
    assert hashlib.sha256(public[0] + nonces[0]).hexdigest() == told["commitment"]
    digest = hmac.digest(salt, b"PTL1 code" + public[0] + public[1] + b"T0000001", "sha256")
    assert f"{int.from_bytes(digest[:4], 'big') % 1_000_000:06d}" == told["six_digits"]
    to_bridge, to_terminal = from_hex(told["key_to_bridge"]), from_hex(told["key_to_terminal"])
    assert hkdf(secret, salt, b"PTL1 to bridge") == to_bridge
    assert hkdf(secret, salt, b"PTL1 to terminal") == to_terminal
    for key, words, size, name in (
        (to_bridge, b"PTL1 confirm", 8, "pair_confirm"),
        (to_terminal, b"PTL1 confirm", 8, "pair_done"),
        (to_bridge, b"PTL1 key", 4, "key_identifier"),
    ):
        assert hmac.digest(key, words, "sha256")[:size].hex() == told[name]


def test_the_worked_session_is_coded_as_the_page_says() -> None:
    told = worked()
    (hello_block,) = PAGE.blocks("hex", "native", "hello")
    hello = from_hex(hello_block.text)
    assert hello.hex() == AUTHENTICATED["hello"]["native"]["body"]
    (hashed,) = PAGE.blocks("hex", "sha256")
    assert hashlib.sha256(hello).digest() == from_hex(hashed.text)
    nonces = [from_hex(AUTHENTICATED[f"session_nonce_{end}"]) for end in ("bridge", "terminal")]
    for nonce in nonces:
        assert f"`{nonce.hex()}`" in PAGE.text
    keys = Keys(from_hex(told["key_to_bridge"]), from_hex(told["key_to_terminal"]))
    blocks = PAGE.blocks("hex", "native", "coded")
    assert [block.words[-1] for block in blocks] == ["WELCOME", "TENDER"]
    for block, receiver in zip(blocks, (Role.TERMINAL, Role.BRIDGE), strict=True):
        body = from_hex(block.text)
        assert body.hex() in {message["body"] for message in AUTHENTICATED["messages"]}
        read = NATIVE.encoding.decode(body)
        coded = CodedSession(receiver, keys, *nonces, hello)
        verdict = coded.take(
            read.message.type_code, read.signed_part, read.code, read.message_counter
        )
        assert verdict is Verdict.TAKEN
        assert read.signed_part == body[:-11]


def test_what_never_carries_a_code_is_named() -> None:
    assert "HELLO, IDENTIFY, the pairing messages and REFUSED 9 never do." in PAGE.text
    never = {messages.Hello.type_code, messages.Identify.type_code}
    assert never == UNCODED_TYPES - PAIRING_TYPES


# -- the C of the page


@pytest.fixture(scope="module")
def in_c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    (block,) = PAGE.blocks("c")
    folder: Path = tmp_path_factory.mktemp("c")
    source, library = folder / "link.c", folder / "link.so"
    source.write_text(block.text)
    how = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *how, "-o", str(library), str(source)], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.ptl_crc16.restype, loaded.ptl_lrc.restype = ctypes.c_uint16, ctypes.c_uint8
    loaded.ptl_crc32.restype, loaded.ptl_unpack.restype = ctypes.c_uint32, ctypes.c_long
    return loaded


def test_the_checks_in_c_are_those_of_the_code(in_c: ctypes.CDLL) -> None:
    for vector in LINK["messages"]:
        data = from_hex(vector["native"]["body"])
        size = ctypes.c_size_t(len(data))
        assert in_c.ptl_crc16(0, data, size) == crc16(data)
        assert in_c.ptl_lrc(0, data, size) == lrc(data)
        half = len(data) // 2
        begun = in_c.ptl_crc32(0, data, ctypes.c_size_t(half))
        rest = ctypes.c_size_t(len(data) - half)
        assert in_c.ptl_crc32(ctypes.c_uint32(begun), data[half:], rest) == zlib.crc32(data)
    assert f"{in_c.ptl_crc16(0, b'123456789', ctypes.c_size_t(9)):04x}" == "2189"


@given(packed=st.binary(max_size=12), size=st.integers(0, 40))
def test_unpacking_in_c_is_that_of_the_code(in_c: ctypes.CDLL, packed: bytes, size: int) -> None:
    out = ctypes.create_string_buffer(size + 1)
    made = in_c.ptl_unpack(out, ctypes.c_size_t(size), packed, ctypes.c_size_t(len(packed)))
    try:
        expected = unpack(packed, size)
    except ValueError:
        assert made == -1
    else:
        assert out.raw[:made] == expected


# -- citations


_CITED = re.compile(
    r"(?:(?:terminal[- ]link|link),? ?(?:§|section )|\(section |link's section |the link's section )"
    r"(\d)(?:(?:\.|, )(\d+))?"
)


def test_what_the_source_cites_is_found_on_the_page() -> None:
    known = {cited for cited, _ in PAGE.rows("citations")}
    for file in (
        *TOP.glob("bridge/**/*.py"),
        *TOP.glob("drivers/**/*.py"),
        *TOP.glob("tools/**/*.py"),
    ):
        for section, clause in _CITED.findall(file.read_text(encoding="utf-8")):
            cited = f"{section}.{clause}" if clause and section == "4" else section
            assert cited in known, f"{file.relative_to(TOP)} cites {cited}"
    here = set(re.findall(r"^#+ (\d+(?:\.\d+)?)", PAGE.text, re.MULTILINE))
    names = set(re.findall(r"\*\*([DB]\d+)\*\*", PAGE.text))
    for _, where in PAGE.rows("citations"):
        for found in re.findall(r"[DB]\d+|\d+\.\d+|\d+", where):
            assert found in here | names, found


def test_formats_are_told_as_the_code_has_them() -> None:
    for form in Format:
        assert re.search(rf"^\| {form.value} \| .+ \| .+ \| .+ \|$", PAGE.text, re.MULTILINE)

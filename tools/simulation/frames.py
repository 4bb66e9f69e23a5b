"""The checks of both framings, once more: byte by byte, from the link's page alone.

The judge of damaged frames. It shares no code with drivers/: a frame that a session took though its check is wrong
is a fault of the session; one whose check is right by chance is what a check of 16 bits lets through.
"""

from __future__ import annotations

DLE, STX, ETX = 0x10, 0x02, 0x03


def kermit(data: bytes) -> int:
    """CRC-16/KERMIT, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def bodies(framing: str, data: bytes) -> set[bytes]:
    """Every body in `data` that stands in a frame with a right check, wherever that may begin."""
    if framing == "dle-crc16":
        return _dle_bodies(data)
    return _stx_bodies(data)


def _dle_bodies(data: bytes) -> set[bytes]:
    found = set()
    for start in range(len(data) - 1):
        if data[start] != DLE or data[start + 1] != STX:
            continue
        body, at = bytearray(), start + 2
        while at + 1 < len(data):
            byte = data[at]
            if byte != DLE:
                body.append(byte)
                at += 1
            elif data[at + 1] == DLE:
                body.append(DLE)
                at += 2
            else:
                if data[at + 1] == ETX and at + 3 < len(data):
                    told = data[at + 2] | data[at + 3] << 8
                    if told == kermit(bytes(body) + b"\x03"):
                        found.add(bytes(body))
                break
    return found


def _stx_bodies(data: bytes) -> set[bytes]:
    found = set()
    for start in range(len(data)):
        if data[start] != STX:
            continue
        end = data.find(ETX, start + 1)
        if 0 < end < len(data) - 1:
            body = data[start + 1 : end]
            check = ETX
            for byte in body:
                check ^= byte
            if check == data[end + 1] and _text_check_is_right(body):
                found.add(body)
    return found


def _text_check_is_right(body: bytes) -> bool:
    """DF7E, the last object of every message in text."""
    before, mark, told = body.rpartition(b"\x1cDF7E=")
    return bool(mark) and told == b"%04X" % kermit(before)

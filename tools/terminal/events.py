"""What a simulated terminal tells the outside: one flat event for each thing that happens.

Rules
- An event has a kind, the time in milliseconds since the machine started (the clock that the daemon
  uses too, so that times of two processes can be compared), and fields that JSON can write.
- This module alone knows how actions and messages look in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from drivers.link.messages import ImageData, Message
from tools.terminal.actions import (
    Closed,
    NewCounter,
    PairingEnded,
    Ready,
    Send,
    ShowDigits,
    ShowImage,
    ShowText,
    TakeAway,
    TellPerson,
)
from tools.terminal.link import Happened, Heard, NotHeard


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `kind` and the fields are those of the table in the README beside this file."""

    kind: str
    at_ms: float
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def matches(self, kind: str, wanted: Mapping[str, Any]) -> bool:
        """Whether it is of that kind and has these values."""
        return self.kind == kind and all(self.fields.get(k) == v for k, v in wanted.items())

    def json(self) -> str:
        """One line of JSON."""
        return json.dumps({"event": self.kind, "at_ms": self.at_ms, **self.fields})


def from_json(line: str) -> Event:
    """The reverse of `Event.json`. Raises ValueError or KeyError where it is none."""
    data = json.loads(line)
    return Event(data.pop("event"), data.pop("at_ms"), data)


def message_fields(message: Message) -> dict[str, Any]:
    """The name of a message and its objects, without those that are missing."""
    values: dict[str, Any] = {"message": message.type_name}
    for part in fields(message):
        value = getattr(message, part.name)
        if part.name == "data" and isinstance(message, ImageData):
            values["data_bytes"] = len(message.data)
        elif value is not None:
            values[part.name] = _plain(value)
    return values


def fields_of(happened: Happened) -> tuple[str, dict[str, Any]]:
    """Kind and fields of what happened; of an image, without what its panel says."""
    match happened:
        case Send(message):
            return "sent", message_fields(message)
        case Heard(message):
            return "received", message_fields(message)
        case NotHeard(message):
            return "not-heard", message_fields(message)
        case Ready():
            return "ready", _fields(happened)
        case ShowImage(image):
            size = {"width": image.width, "height": image.height, "bytes": len(image.data)}
            return "image", {"counter": image.counter, "format": image.format, **size}
        case TakeAway():
            return "image-gone", _fields(happened)
        case ShowText():
            return "text", _fields(happened)
        case Closed():
            return "closed", _fields(happened)
        case NewCounter():
            return "new-counter", _fields(happened)
        case TellPerson():
            return "person", _fields(happened)
        case ShowDigits():
            return "digits", _fields(happened)
        case PairingEnded():
            return "pairing-ended", _fields(happened)


def _fields(value: Any) -> dict[str, Any]:
    return {part.name: _plain(getattr(value, part.name)) for part in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return value.hex() if isinstance(value, bytes) else value

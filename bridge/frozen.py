"""`replace` for the values that decisions are made of: `dataclasses.replace`, four times as quick.

One decision makes dozens of values of some 25 fields; dataclasses' own way looks at every field's declaration each
time, and goes through `__init__`. Here a function is made for each class, once, as dataclasses makes its methods.
Only for frozen, slotted dataclasses without `__post_init__`. A name that is no field raises AttributeError.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:
    from dataclasses import fields

    _COPIERS: dict[type, Any] = {}

    def _copier(kind):
        """Copies a value of this class, field by field."""
        names = [part.name for part in fields(kind)]
        if hasattr(kind, "__post_init__"):
            raise TypeError(f"{kind.__name__} is for dataclasses.replace: it has a __post_init__")
        writers = {f"write_{name}": getattr(kind, name).__set__ for name in names}
        lines = "".join(f"    write_{name}(copy, value.{name})\n" for name in names)
        text = f"def copied(value):\n    copy = new(kind)\n{lines}    return copy\n"
        scope = {"new": object.__new__, "kind": kind, **writers}
        exec(text, scope)  # noqa: S102 - made of the class's own field names alone
        _COPIERS[kind] = scope["copied"]
        return scope["copied"]

    def replace(value, /, **changes):
        """A copy of `value` with these fields changed."""
        kind = value.__class__
        copy = (_COPIERS.get(kind) or _copier(kind))(value)
        for name, part in changes.items():
            object.__setattr__(copy, name, part)
        return copy

"""One tender as one plain timeline, and how it ended: money taken or not, and what to do.

Made from the journal's events alone; the words are for a person at a counter, not for us.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.journal.reader import JournalReader
from bridge.outcomes import money
from bridge.tender import DEAD, PAID

CODE_WORDS: Final = {
    "00": "approved",
    "05": "declined",
    "17": "cancelled",
    "54": "expired",
    "91": "PartPay could not be reached",
    "96": "the bridge could not do it",
}


def explain(reader: JournalReader, pairing: int, counter: int, currency: str) -> dict[str, Any]:
    """{"tender", "timeline": [{"at", "who", "what"}], "money", "to_do"}."""
    events = reader.events(pairing, counter)
    form = reader.form(pairing, counter)
    found = [
        one
        for one in reader.find(f"{form.get('terminal_id')}/{counter}")
        if one["pairing"] == pairing
    ]
    amount = money(int(form.get("amount_minor", 0)), currency)
    timeline = []
    known: dict[str, Any] = {}
    for event in events:
        changed = event["data"].get("set", {})
        for who, what in _steps(event["name"], event["data"], changed, known, amount):
            timeline.append({"at": event["at"], "who": who, "what": what})
        known.update(changed)
    taken, to_do = _end(form, amount)
    return {
        "tender": found[0] if found else {},
        "timeline": timeline,
        "money": taken,
        "to_do": to_do,
    }


def _steps(
    name: str,
    data: Mapping[str, Any],
    changed: Mapping[str, Any],
    known: Mapping[str, Any],
    amount: str,
) -> Iterator[tuple[str, str]]:
    if name == "callback":
        given = data.get("in", {})
        if given:
            yield (
                "PartPay",
                f"a signed callback says {given.get('status')} of order {given.get('order_number')}",
            )
    if "pairing" in changed:
        kind = "a refund" if changed.get("kind") == "refund" else "a tender"
        yield "terminal", f"asks for {kind} of {amount}; it is written down and accepted"
    for key, value in changed.items():
        what = _fact(key, value, known, changed)
        if what is not None:
            yield what
    if changed.get("state") == "closing":
        why = CODE_WORDS.get(str(changed.get("closing_code")), "")
        yield "bridge", f"asks PartPay to end the order ({why}), and takes the picture away"
    if "outcome.code" in changed:
        code = str(changed["outcome.code"])
        yield (
            "bridge",
            f"writes the outcome: {code}, {CODE_WORDS.get(code, '')}, and tells the terminal until it stores it",
        )
    if changed.get("stored"):
        yield "terminal", "has the outcome in its own storage"
    for code, text in data.get("notes", []):
        yield "bridge", f"notes: {text} ({code})"


def _fact(
    key: str, value: Any, known: Mapping[str, Any], changed: Mapping[str, Any]
) -> tuple[str, str] | None:
    head, dot, name = key.partition(".")
    if not dot or head == "outcome" or value is None:
        return None
    reference = changed.get(f"{head}.gateway_reference") or known.get(f"{head}.gateway_reference")
    match name:
        case "gateway_reference":
            return "bridge", f"will ask PartPay under reference {value}"
        case "order_id":
            number = changed.get(f"{head}.order_number") or known.get(f"{head}.order_number")
            return "PartPay", f"has the order: number {number}, id {value}"
        case "payload":
            return "bridge", "has read the QR code"
        case "shown":
            return "bridge", "shows the code on the panel"
        case "uncertain":
            return "bridge", f"has no certain answer for {reference}: the order may exist"
        case "told":
            return "PartPay", f"answers: {value}"
        case "void":
            return "PartPay", f"has no order under {reference}"
        case "owed":
            return "bridge", {
                "owed": "owes a reversal: that order must not stay paid",
                "done": "the reversal is done: nobody's money is kept",
                "abandoned": "no order can exist: the reversal is closed, and listed for a person",
            }.get(str(value), f"the reversal is {value}")
        case "refunded":
            return "PartPay", "has refunded the order in full"
    return None


def _end(form: Mapping[str, Any], amount: str) -> tuple[str, str]:
    """Whose money it is now, and what a person has to do about it."""
    if not form:
        return "nothing is known of it", "look at another till"
    code, refund = form.get("outcome.code"), form.get("kind") == "refund"
    attempts = [f"a{n}." for n in range(1, 100) if f"a{n}.gateway_reference" in form]
    owed = any(form.get(a + "owed") == "owed" for a in attempts)
    paid = any(form.get(a + "told") in PAID or form.get(a + "signed") in PAID for a in attempts)
    wait = (
        ""
        if form.get("stored")
        else "; the terminal has not stored it yet: leave it switched on and plugged in"
    )
    if code is None:
        what = (
            "it is not known yet whether money is given back"
            if refund
            else "it is still open: nothing is decided"
        )
        return what, "wait: the bridge goes on by itself; see again in a minute"
    if refund:
        return (
            (f"{amount} was given back", f"nothing{wait}")
            if code == "00"
            else (
                "nothing was given back",
                f"ask again at the terminal if it is still wanted{wait}",
            )
        )
    if code == "00":
        return f"{amount} was taken from the customer, once", f"hand over the goods{wait}"
    if owed:
        what = (
            "was taken and is being given back"
            if paid
            else "may have been taken, and is then given back"
        )
        return (
            f"{amount} {what}",
            "take another payment if the customer wants; the bridge gives this one back by itself",
        )
    given_back = any(form.get(a + "refunded") for a in attempts)
    if given_back:
        return f"{amount} was taken and was given back in full", f"nothing{wait}"
    certain = all(form.get(a + "void") or form.get(a + "told") in DEAD for a in attempts)
    how = "PartPay says so" if certain and attempts else "no order could be paid"
    return f"no money was taken ({how})", f"take another payment if the customer wants{wait}"

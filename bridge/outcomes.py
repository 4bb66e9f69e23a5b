"""Response codes, and the words that a cashier and a customer read.

Codes are those of ISO 8583 field 39 as the terminal link uses them in EMV tag 8A (terminal link, section 3).
Every text is plain, short enough for DF05 (160 bytes), and begins with `TEST` outside production.
"""

from typing import Final

APPROVED: Final = "00"
DECLINED: Final = "05"
CANCELLED: Final = "17"
EXPIRED: Final = "54"
UNREACHABLE: Final = "91"
FAILED: Final = "96"

CODE_OF_STATUS: Final = {
    "approved": APPROVED,
    "complete": APPROVED,
    "declined": DECLINED,
    "expired": EXPIRED,
    "cancelled": CANCELLED,
}

_TENDER_TEXTS: Final = {
    APPROVED: "APPROVED",
    DECLINED: "DECLINED by PartPay",
    CANCELLED: "CANCELLED",
    EXPIRED: "EXPIRED",
    UNREACHABLE: "PartPay cannot be reached\nNo money is taken",
    FAILED: "The bridge could not do it\nNo money is taken",
}
_REFUND_TEXTS: Final = {
    APPROVED: "REFUNDED",
    DECLINED: "REFUND DECLINED by PartPay",
    UNREACHABLE: "PartPay cannot be reached\nNothing is refunded",
    FAILED: "The bridge could not do it\nNothing is refunded",
}


def money(amount_minor: int, currency: str) -> str:
    """An amount in minor units as people write it: `125.50 NZD`."""
    return f"{amount_minor // 100}.{amount_minor % 100:02d} {currency}"


def tender_text(code: str, amount: str, why: str | None = None) -> str:
    """The lines for a tender's outcome; `why` is PartPay's reason in plain words."""
    lines = [_TENDER_TEXTS[code], amount if code == APPROVED else (why or "")]
    return "\n".join(line for line in lines if line)


def refund_text(code: str, amount: str, why: str | None = None) -> str:
    """The lines for a refund's outcome."""
    lines = [_REFUND_TEXTS[code], amount if code == APPROVED else (why or "")]
    return "\n".join(line for line in lines if line)


ASKING = "Asking PartPay"
SCAN = "Scan with your phone"
WAITING_FOR_EARLIER = "Taking back the earlier order"
ENDING = "Ending the order at PartPay"
REFUNDING = "Refunding"
SET_ASIDE = "Set aside: call support"
SCAN_BESIDE = "Scan to pay"
ENDING_BESIDE = "Ending the order"
WAITING_BESIDE = "One moment"
"""Beside a terminal the lines are as short as 20 characters, and the time that is left follows."""
CANNOT_SHOW = "This panel cannot show the code"

REFUSALS: Final = {
    1: "NOT PAIRED",
    2: "NO SUCH TRANSACTION",
    3: "COUNTER ALREADY USED",
    4: "BUSY",
    5: "BAD AMOUNT OR CURRENCY",
    6: "NOT UNDERSTOOD",
    7: "MERCHANT NOT KNOWN",
    8: "NOT REFUNDABLE",
    9: "NOT AUTHENTICATED",
    10: "CANNOT WRITE NOW",
    11: "SAY HELLO",
}

"""In whose name PartPay is called: a merchant id, and the credential that it goes with.

Credentials come in both shapes (partpay-api.md "The flow"): one for the service with many merchant
ids, or one for each merchant. A secret is never held here, only the way to read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MerchantAccess:
    """`client_secret` reads the secret; it may raise SecretError, OSError, ValueError."""

    merchant_id: str
    client_id: str
    client_secret: Callable[[], str] = field(repr=False)

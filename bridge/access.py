"""What the daemon needs to speak with PartPay: its client, each merchant's credential, the callback keys.

- The client is made when it is first needed, in a worker: requests and its TLS take 100 ms.
- Credentials are looked up in the registry at each call, and secrets read at each fetch of a token: a change needs
  no restart. A merchant's own client id comes before the service's.
- Callback keys are named "" (the service's) or by merchant; a file is read again when it has changed.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.config import Settings
from bridge.health import Health
from bridge.partpay.answers import NoTokenCause
from bridge.registry import Merchant, Registry
from bridge.secrets_files import Secret, SecretError, secret_at

if TYPE_CHECKING:
    from bridge.partpay.orders import Orders
    from bridge.partpay.tokens import MerchantAccess

log = logging.getLogger(__name__)

WARM_LIMIT_S: Final = 10.0


class PartPay:
    """PartPay's client, made on first use. Any thread may call any method."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        token: Callable[[str, NoTokenCause | None, str], None] = lambda client_id, cause, why: None,
        dated: Callable[[str], None] = lambda date: None,
    ) -> None:
        """`token` hears how each fetch of a token ended, `dated` each Date that PartPay tells."""
        self._settings = settings
        self._registry = registry
        self._token = token
        self._dated = dated
        self._lock = threading.Lock()
        self._orders: Orders | None = None

    def orders(self) -> "Orders":
        """The client. Raises ValueError where the configured addresses cannot be called."""
        with self._lock:
            if self._orders is None:
                from bridge.partpay.orders import Orders  # noqa: PLC0415 - see above
                from bridge.partpay.tokens import Tokens  # noqa: PLC0415
                from bridge.partpay.transport import tls_context  # noqa: PLC0415

                partpay = self._settings.partpay
                context = tls_context()
                self._orders = Orders(
                    partpay.base_url,
                    Tokens(partpay.token_url, partpay.audience, context, told=self._token),
                    context,
                    callback_url=partpay.callback_url,
                    api=partpay.api,
                    dated=self._dated,
                )
            return self._orders

    def access(self, merchant_id: str) -> "MerchantAccess | None":
        """With which credential calls are made for this merchant, retired or not; None: there is none."""
        from bridge.partpay.tokens import MerchantAccess  # noqa: PLC0415 - see above

        merchant = self._registry.snapshot.merchant(merchant_id)
        if merchant is None:
            return None
        client_id, secret = credential_of(self._settings, merchant)
        if client_id is None or secret is None:
            log.error(
                "merchant %s has no credential: set [partpay] client_id and client_secret_file, or its own by "
                "`partpay-bridge merchants set`",
                merchant_id,
                extra={"event": "no-credential", "merchant": merchant_id},
            )
            return None
        return MerchantAccess(merchant_id, client_id, secret.read)

    def warm(self) -> None:
        """Token and connection ahead of need, for every credential in use."""
        warmed = set()
        for merchant_id in sorted(self._registry.snapshot.usable):
            access = self.access(merchant_id)
            if access is None or access.client_id in warmed:
                continue
            warmed.add(access.client_id)
            why = self.orders().warm(access, deadline_s=WARM_LIMIT_S)
            if why is not None:
                log.warning("PartPay: %s", why, extra={"event": "partpay-unreachable"})


def credential_of(settings: Settings, merchant: Merchant) -> tuple[str | None, Secret | None]:
    """Client id and secret that this merchant's calls are made with: its own, else the service's."""
    if merchant.client_id is not None and merchant.client_secret_file is not None:
        return merchant.client_id, secret_at(Path(merchant.client_secret_file), os.environ)
    return settings.partpay.client_id, settings.partpay.client_secret


class CallbackKeys:
    """The callback keys by whose they are; called for each callback, from any thread."""

    def __init__(self, settings: Settings, registry: Registry, health: Health) -> None:
        self._settings = settings
        self._registry = registry
        self._health = health
        self._read: dict[Path, tuple[tuple[int, int], tuple[bytes, ...]]] = {}

    def __call__(self) -> Mapping[str, tuple[bytes, ...]]:
        sources: dict[str, Secret] = {}
        if self._settings.partpay.callback_key is not None:
            sources[""] = self._settings.partpay.callback_key
        for merchant in self._registry.snapshot.merchants.values():
            if merchant.callback_key_file is not None:
                path = Path(merchant.callback_key_file)
                sources[merchant.merchant_id] = secret_at(path, os.environ)
        return {name: keys for name, secret in sources.items() if (keys := self._keys(secret))}

    def _keys(self, secret: Secret) -> tuple[bytes, ...]:
        try:
            about = secret.path.stat()
            stamp = (about.st_mtime_ns, about.st_ino)
            known = self._read.get(secret.path)
            if known is not None and known[0] == stamp:
                return known[1]
            keys = secret.read_keys()
        except (SecretError, OSError) as error:
            self._health.begin("secret-unusable", str(secret.path), str(error))
            return ()
        self._health.end("secret-unusable", str(secret.path))
        self._read[secret.path] = (stamp, keys)
        return keys


def load_libraries() -> None:
    """Loads and warms what the first sale will need."""
    from bridge.partpay import orders  # noqa: PLC0415 - see above
    from drivers.display import qr  # noqa: PLC0415

    assert orders
    qr.warm_up()

"""Checks of PartPay: that it is reached, by a trusted certificate, at the same time of day, with our credentials.

- A merchant is tried by asking for the status of an order that cannot exist: a fresh random id. "Not found" is the
  good answer; it changes nothing at PartPay, and no order is ever made.
"""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from bridge.access import credential_of
from bridge.doctor.finding import Said, ok, unknown, wrong
from bridge.doctor.patient import Patient
from bridge.doctor.reach import addresses, certificate, host_and_port, request
from bridge.partpay.access import MerchantAccess
from bridge.partpay.answers import Failure, NoAnswer, NoTokenCause
from bridge.partpay.failures import NoTokenError
from bridge.partpay.fields import http_time
from bridge.partpay.orders import Orders
from bridge.partpay.tokens import Tokens
from bridge.registry import Merchant
from bridge.watch import CLOCK_OFF_S

DEADLINE_S: Final = 15.0
ENDS_SOON: Final = timedelta(days=7)
"""What renews certificates by itself has done it weeks before."""
SET_CLOCK: Final = "timedatectl set-ntp true"
NOBODY: Final = "DOCTOR"
"""The terminal that a call names where none is registered."""


def reached(patient: Patient) -> Iterator[Said]:
    """That its addresses stand for somebody, who shows a certificate that is trusted."""
    if patient.settings is None:
        return
    partpay = patient.settings.partpay
    seen = set()
    for key, url in (("base_url", partpay.base_url), ("token_url", partpay.token_url)):
        if host_and_port(url) not in seen:
            seen.add(host_and_port(url))
            yield from server(url, f"[partpay] {key}, {url}", patient)


def server(url: str, looked_at: str, patient: Patient, *, ours: bool = False) -> Iterator[Said]:
    """That a web address stands for somebody with a good certificate. ours: the shop has to renew it."""
    host, _ = host_and_port(url)
    try:
        found = addresses(url)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        yield wrong(
            looked_at, f"the name {host} cannot be looked up: {why}", f"resolvectl query {host}"
        )
        return
    if not url.startswith("https:"):
        yield ok(looked_at, f"{host} is {', '.join(found)}")
        return
    try:
        shown = certificate(url, patient.tls_context())
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        yield wrong(
            looked_at, f"{host} ({', '.join(found)}) cannot be reached: {why}", f"curl -v {url}"
        )
        return
    now = patient.wall()
    if shown.why_not is None:
        if ours and shown.ends is not None and shown.ends - now < ENDS_SOON:
            yield wrong(looked_at, f"its certificate ends on {_day(shown.ends)}", _renew(host))
        else:
            yield ok(looked_at, f"trusted, its certificate ends on {_day(shown.ends)}")
        return
    found_is = f"its certificate is not trusted: {shown.why_not}"
    if shown.ends is not None and shown.ends < now:
        found_is = f"its certificate ended on {_day(shown.ends)}"
    remedy = (
        _renew(host)
        if ours
        else f"date   # a wrong clock? else: openssl s_client -connect {host}:443"
    )
    yield wrong(looked_at, found_is, remedy)


def _renew(host: str) -> str:
    return (
        f"certbot renew --cert-name {host}   # or: systemctl restart caddy, which renews by itself"
    )


def _day(moment: datetime | None) -> str:
    return "an unknown day" if moment is None else f"{moment:%Y-%m-%d}"


def clock(patient: Patient) -> Iterator[Said]:
    """That it is the same time here and at PartPay."""
    if patient.settings is None:
        return
    url = patient.settings.partpay.base_url
    looked_at = f"this machine's clock, and the Date of {url}"
    answer = request("HEAD", url, patient.tls_context())
    if isinstance(answer, Failure):
        yield unknown(looked_at, f"PartPay told no time: {answer.why}", SET_CLOCK)
        return
    told = http_time(answer.headers.get("date"))
    if told is None:
        yield unknown(looked_at, "PartPay told no time")
        return
    off = patient.wall() - told
    if abs(off) <= timedelta(seconds=CLOCK_OFF_S):
        yield ok(looked_at, "the same")
        return
    which = "ahead" if off > timedelta(0) else "behind"
    yield wrong(looked_at, f"it is {abs(off).total_seconds():.0f} s {which}", SET_CLOCK)


def credentials(patient: Patient) -> Iterator[Said]:
    """That a token is given for each client, and each merchant may use it."""
    settings = patient.settings
    if settings is None:
        return
    usable = [one for one in patient.merchants if not one.retired]
    context = patient.tls_context()
    partpay = settings.partpay
    tokens = Tokens(partpay.token_url, partpay.audience, context)
    with Orders(partpay.base_url, tokens, context, api=partpay.api) as orders:
        known: dict[str, bool] = {}
        if not usable and partpay.client_id is not None and partpay.client_secret is not None:
            nobody = MerchantAccess("", partpay.client_id, partpay.client_secret.read)
            yield _token(tokens, nobody, partpay.token_url)
        for merchant in usable:
            client_id, secret = credential_of(settings, merchant)
            about = f"merchant {merchant.merchant_id} ({merchant.name})"
            if client_id is None or secret is None:
                own = f"partpay-bridge merchants set {merchant.merchant_id} --client-id C --client-secret-file F"
                yield wrong(about, "it has no credential, and the service has none", own)
                continue
            access = MerchantAccess(merchant.merchant_id, client_id, secret.read)
            if client_id not in known:
                said = _token(tokens, access, partpay.token_url)
                known[client_id] = said.level.value == "ok"
                yield said
            if known[client_id]:
                yield _allowed(orders, access, about, _terminal_of(patient, merchant))
            else:
                yield unknown(about, f"there is no token for client {client_id}")


def _token(tokens: Tokens, access: MerchantAccess, url: str) -> Said:
    looked_at = f"a token for client {access.client_id} from {url}"
    try:
        tokens.bearer(access, DEADLINE_S)
    except NoTokenError as error:
        match error.cause:
            case NoTokenCause.REFUSED:
                remedy = "compare client_id and the client secret's file with what PartPay gave you"
                return wrong(looked_at, f"refused: {error.why}", remedy)
            case NoTokenCause.SECRET:
                return wrong(looked_at, error.why, "see the secrets above")
            case NoTokenCause.UNKNOWN:
                return wrong(looked_at, f"none came: {error.why}", f"curl -v {url}")
    return ok(looked_at, "given")


def _allowed(orders: Orders, access: MerchantAccess, about: str, terminal_id: str) -> Said:
    looked_at = f"{about}: the status of an order that cannot exist"
    answer = orders.status(
        access, terminal_id=terminal_id, order_id=str(uuid.uuid4()), deadline_s=DEADLINE_S
    )
    if isinstance(answer, NoAnswer) and answer.unauthorised:
        why = f"it is not allowed: {answer.why}"
        return wrong(
            looked_at,
            why,
            f"ask PartPay whether client {access.client_id} may use this merchant id",
        )
    if isinstance(answer, NoAnswer) and not answer.not_found:
        return unknown(looked_at, f"PartPay does not say: {answer.why}")
    return ok(looked_at, "it is allowed")


def _terminal_of(patient: Patient, merchant: Merchant) -> str:
    terminals = patient.world.terminals if patient.world is not None else ()
    for one in terminals:
        if merchant.merchant_id in one["merchants"]:
            return str(one["terminal"])
    return NOBODY

"""The five calls to PartPay, and the picture: each blocks, within its deadline, and gives a value.

Rules (architecture.md "The life of a tender", partpay-api.md "Orders"):
- No call raises for anything that PartPay or the network does. What the answers mean is for
  answers.py; here is only what is asked, and of whom.
- Nothing is repeated, but once with a new token after a 401. A create or refund that perhaps went
  out is for the caller to send again, under the same references.
- The credentials go to the base address alone; a picture is fetched without them.
- Any number of threads may call; they share kept connections and tokens.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final
from urllib.parse import quote

from bridge.partpay.access import MerchantAccess
from bridge.partpay.answers import (
    CancelAnswer,
    CreateAnswer,
    Failure,
    HttpAnswer,
    NoAnswer,
    RefundAnswer,
    ToldAnswer,
    read_cancel,
    read_create,
    read_picture,
    read_refund,
    read_told,
)
from bridge.partpay.api import Api
from bridge.partpay.failures import FAILURES, failure
from bridge.partpay.fields import amount_text
from bridge.partpay.tokens import Tokens, without_secret
from bridge.partpay.transport import (
    KEPT_S,
    PICTURE_MAX_BYTES,
    Direct,
    Limits,
    base_of,
    exchange,
    parts_of,
    prepared,
    set_up,
)

_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?", re.ASCII)


class Orders:
    """PartPay's terminal orders at one base address.

    `callback_url`: what PartPay is told to call; None: it is told none, and polling has to do.
    """

    def __init__(
        self,
        base_url: str,
        tokens: Tokens,
        context: ssl.SSLContext,
        *,
        callback_url: str | None = None,
        api: Api | None = None,
        dated: Callable[[str], None] = lambda date: None,
    ) -> None:
        """Raises ValueError where the address cannot be called. `context`: `tls_context()`.

        `dated` hears the Date of each answer of PartPay's, as it came.
        """
        self._base = base_of(base_url)
        self._base_parts = parts_of(self._base)
        self._tokens = tokens
        self._callback_url = callback_url
        self._api = api if api is not None else Api()
        self._session = Direct()
        self._pictures = Direct()
        set_up(self._session, context)
        set_up(self._pictures, context)
        self._last_answer = -KEPT_S
        self._dated = dated

    def __enter__(self) -> Orders:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the kept connections go. Calls that run end as they may."""
        self._session.close()
        self._pictures.close()

    def create(
        self,
        merchant: MerchantAccess,
        *,
        terminal_id: str,
        amount_minor: int,
        merchant_reference: str,
        gateway_reference: str,
        deadline_s: float,
        with_key: bool = True,
    ) -> CreateAnswer:
        """*Create terminal order*. `with_key`: the Idempotency-Key, which is the gateway reference.

        Raises ValueError for an amount that is not above 0.
        """
        api = self._api
        fields = {
            api.merchant_reference_field: merchant_reference,
            api.gateway_reference_field: gateway_reference,
        }
        if self._callback_url is not None:
            fields[api.callback_url_field] = self._callback_url
        headers = {api.unique_check_header: "true"}
        if with_key:
            headers[api.idempotency_header] = gateway_reference
        body = _json(fields, {api.amount_field: amount_minor})
        got = self._call(
            merchant, terminal_id, "POST", api.create_path, deadline_s, body=body, headers=headers
        )
        return read_create(got, api)

    def order(
        self, merchant: MerchantAccess, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> ToldAnswer:
        """All that PartPay tells of the order, its picture too. Raises ValueError: no order's id."""
        path = self._api.order_address(self._api.order_path, order_id)
        return read_told(self._call(merchant, terminal_id, "GET", path, deadline_s), self._api)

    def status(
        self, merchant: MerchantAccess, *, terminal_id: str, order_id: str, deadline_s: float
    ) -> ToldAnswer:
        """The order's number and status. Raises ValueError where `order_id` is no order's id."""
        path = self._api.order_address(self._api.status_path, order_id)
        return read_told(self._call(merchant, terminal_id, "GET", path, deadline_s), self._api)

    def cancel(
        self,
        merchant: MerchantAccess,
        *,
        terminal_id: str,
        order_id: str,
        operator: str,
        deadline_s: float,
    ) -> CancelAnswer:
        """Ask for the order's end. Raises ValueError where `order_id` is no order's id."""
        path = self._api.order_address(self._api.cancel_path, order_id)
        body = _json({self._api.operator_field: operator})
        return read_cancel(self._call(merchant, terminal_id, "POST", path, deadline_s, body=body))

    def refund(
        self,
        merchant: MerchantAccess,
        *,
        terminal_id: str,
        order_id: str,
        amount_minor: int,
        refund_reference: str,
        operator: str,
        deadline_s: float,
    ) -> RefundAnswer:
        """Give money back; the same reference again refunds once.

        Raises ValueError for an amount that is not above 0, or where `order_id` is no order's id.
        """
        api = self._api
        path = api.order_address(api.refund_path, order_id)
        fields = {api.refund_reference_field: refund_reference, api.operator_field: operator}
        body = _json(fields, {api.amount_field: amount_minor})
        got = self._call(
            merchant, terminal_id, "POST", path, deadline_s, body=body, certain_401=False
        )
        return read_refund(got)

    def picture(self, url: str, *, deadline_s: float) -> bytes | NoAnswer:
        """The picture at an address that PartPay told: over https, or from the base address's host."""
        try:
            parts = parts_of(url)
        except ValueError as error:
            return NoAnswer(f"the picture's address cannot be called: {error}")
        if parts.scheme != "https" and parts.host != self._base_parts.host:
            return NoAnswer("the picture's address is neither https nor on PartPay's host")
        try:
            request = prepared("GET", url, {"Accept": "image/*"})
            return read_picture(
                exchange(self._pictures, request, Limits(deadline_s, PICTURE_MAX_BYTES))
            )
        except FAILURES as error:
            return read_picture(failure(error))

    def warm(self, merchant: MerchantAccess, *, deadline_s: float) -> str | None:
        """Have token and connection ready ahead of need. None, or what stood in the way.

        The connection is made by a HEAD of the base address without credentials; what is answered
        is of no account. After a recent answer there is nothing to do.
        """
        ends = time.monotonic() + deadline_s
        try:
            self._tokens.bearer(merchant, deadline_s)
            if time.monotonic() - self._last_answer < KEPT_S / 2:
                return None
            request = prepared("HEAD", self._base + "/", {})
            got = exchange(self._session, request, Limits(ends - time.monotonic()))
        except FAILURES as error:
            return failure(error).why
        if date := got.headers.get("date"):
            self._dated(date)
        self._last_answer = time.monotonic()
        return None

    def _call(
        self,
        merchant: MerchantAccess,
        terminal_id: str,
        method: str,
        path: str,
        deadline_s: float,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        certain_401: bool = True,
    ) -> HttpAnswer | Failure:
        """`certain_401`: a request that was answered by 401 counts as not sent."""
        ends = time.monotonic() + deadline_s
        told = {
            "Accept": "application/json",
            self._api.merchant_header: merchant.merchant_id,
            self._api.terminal_header: terminal_id,
            **(headers or {}),
        }
        if body is not None:
            told["Content-Type"] = "application/json"
        refused = False
        try:
            token = self._tokens.bearer(merchant, deadline_s)
            got = self._send(method, path, told, body, token, ends)
            if got.status != 401:
                return got
            refused = True
            newer = self._tokens.after_401(merchant, token, ends - time.monotonic())
            if newer is None:
                return got
            got = self._send(method, path, told, body, newer, ends)
            if got.status == 401:
                self._tokens.refused_anew(merchant, newer)
        except FAILURES as error:
            failed = failure(error)
            sure = failed.surely_not_sent and (certain_401 or not refused)
            return replace(failed, surely_not_sent=sure)
        return got

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        token: str,
        ends: float,
    ) -> HttpAnswer:
        told = {name: _header_value(value) for name, value in headers.items()}
        told["Authorization"] = f"Bearer {token}"
        request = prepared(method, self._base + path, told, body)
        got = exchange(self._session, request, Limits(ends - time.monotonic()))
        self._last_answer = time.monotonic()
        if date := got.headers.get("date"):
            self._dated(date)
        if got.status >= 300:  # an answer whose words are shown and logged
            got = replace(got, body=without_secret(got.body, token))
        return got


def _header_value(text: str) -> str:
    """`text` as a header carries it: what cannot stand in one is percent-encoded."""
    return text if _HEADER_VALUE.fullmatch(text) else quote(text, safe="")


def _json(texts: Mapping[str, str], amounts: Mapping[str, int] | None = None) -> bytes:
    """One JSON object. Amounts are written by us: json has no exact number with decimals."""
    fields = {name: amount_text(minor) for name, minor in (amounts or {}).items()}
    fields |= {name: json.dumps(text) for name, text in texts.items()}
    return ("{" + ",".join(f"{json.dumps(name)}:{v}" for name, v in fields.items()) + "}").encode()

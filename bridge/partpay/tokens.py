"""Access tokens: one for each credential, fetched by one thread at a time, for all lanes.

Rules (partpay-api.md "Access token"; reliability.md O-12, I-24):
- A token is fetched in a thread of its own, and all who need it wait for that one fetch, each as
  long as it can. Shortly before a token's end it is fetched anew, while the old one still serves.
- After a 401 a new token is fetched once: who was refused with a token that has been replaced
  since takes the new one. A merchant that is refused with a brand-new token gets no other for
  REFUSED_AGAIN_S: 401 also means "not for this merchant", which no token mends.
- The secret is read at each fetch and kept nowhere. Neither secret nor token is in a repr, an
  error, or a log: not in our own, and not in those of requests-oauthlib.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, quote_plus

from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests_oauthlib import OAuth2Session

from bridge.partpay import fields
from bridge.partpay.access import MerchantAccess
from bridge.partpay.answers import HttpAnswer, NoTokenCause
from bridge.partpay.failures import FAILURES, NoTokenError, failure
from bridge.partpay.transport import (
    Direct,
    Limits,
    exchange,
    parts_of,
    prepared,
    set_up,
)
from bridge.secrets_files import SecretError

log = logging.getLogger(__name__)

__all__ = ["MerchantAccess", "Tokens", "without_secret"]

FETCH_S: Final = 15.0  # for one fetch, whoever waits for it and how long
RENEW_BEFORE_S: Final = 300.0  # … or a tenth of the token's life, where that is less
RENEW_AGAIN_S: Final = 30.0  # after a renewal ahead of time that failed
REFUSED_AGAIN_S: Final = 60.0
REFUSED_HTTP: Final = frozenset({400, 401, 403, 404})
LIFE_UNTOLD_S: Final = 600.0  # where the token service tells no expires_in
LIFE_MAX_S: Final = 7 * 86400.0
TOKEN_ANSWER_MAX_BYTES: Final = 64 * 1024
_TOKEN: Final = re.compile(r"[!-~]{1,16384}", re.ASCII)  # what a header can carry


@dataclass(slots=True)
class _Kept:
    text: str = field(repr=False)
    fetched_at: float
    renew_at: float
    ends_at: float
    refused_for: set[str] = field(default_factory=set)  # merchant ids


class Tokens:
    """The tokens of all credentials. `clock`: seconds that go on in a sleep of the machine."""

    def __init__(
        self,
        token_url: str,
        audience: str,
        context: ssl.SSLContext,
        *,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        told: Callable[[str, NoTokenCause | None, str], None] = lambda client_id, cause, why: None,
    ) -> None:
        """Raises ValueError where the address cannot be a token endpoint's.

        `told` hears how each fetch for a client ended, before whoever waits for it does: why there
        is no token, in words too, or None.
        """
        parts_of(token_url)
        self._token_url = token_url
        self._audience = audience
        self._context = context
        self._clock = clock
        self._told = told
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._fetches: dict[str, Future[str]] = {}

    def bearer(self, access: MerchantAccess, wait_s: float) -> str:
        """A token that serves. Raises NoTokenError."""
        now = self._clock()
        with self._lock:
            kept = self._kept.get(access.client_id)
            if kept is not None and now < kept.ends_at:
                if now >= kept.renew_at:
                    kept.renew_at = now + RENEW_AGAIN_S
                    self._fetch_of(access)
                return kept.text
            fetch = self._fetch_of(access)
        return _result(fetch, wait_s)

    def after_401(self, access: MerchantAccess, refused: str, wait_s: float) -> str | None:
        """A newer token than `refused`; None where it would not help. Raises NoTokenError."""
        with self._lock:
            kept = self._kept.get(access.client_id)
            now = self._clock()
            if kept is not None and kept.text != refused and now < kept.ends_at:
                return kept.text
            if (
                kept is not None
                and access.merchant_id in kept.refused_for
                and now - kept.fetched_at < REFUSED_AGAIN_S
            ):
                return None
            fetch = self._fetch_of(access)
        return _result(fetch, wait_s)

    def refused_anew(self, access: MerchantAccess, refused: str) -> None:
        """A token fresh from `after_401` was refused too: it is the merchant, not the token."""
        with self._lock:
            kept = self._kept.get(access.client_id)
            if kept is not None and kept.text == refused:
                kept.refused_for.add(access.merchant_id)

    def _fetch_of(self, access: MerchantAccess) -> Future[str]:
        """The fetch that runs for this credential, begun if need be. Called under the lock."""
        running = self._fetches.get(access.client_id)
        if running is not None:
            return running
        fetch: Future[str] = Future()
        self._fetches[access.client_id] = fetch
        thread = threading.Thread(
            target=self._run, args=(access, fetch), name="fetch token", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            del self._fetches[access.client_id]
            fetch.set_exception(NoTokenError("no thread could be started to fetch a token"))
        return fetch

    def _run(self, access: MerchantAccess, fetch: Future[str]) -> None:
        asked_at = self._clock()
        text, life_s, problem = "", 0.0, None
        try:
            text, life_s = self._fetch(access)
        except NoTokenError as error:
            problem = error
        with self._lock:
            if problem is None:
                early_s = min(RENEW_BEFORE_S, life_s / 10)
                ends_at = asked_at + life_s
                self._kept[access.client_id] = _Kept(text, asked_at, ends_at - early_s, ends_at)
            del self._fetches[access.client_id]
        try:
            cause, why = (None, "") if problem is None else (problem.cause, problem.why)
            self._told(access.client_id, cause, why)
        except Exception:
            log.exception("who watches tokens failed", extra={"event": "watch-failed"})
        if problem is None:
            fetch.set_result(text)
        else:
            fetch.set_exception(problem)

    def _fetch(self, access: MerchantAccess) -> tuple[str, float]:
        """A new token and its life in seconds. Raises NoTokenError, and nothing else."""
        who = f"for client {access.client_id}"
        try:
            secret = access.client_secret()
        except (SecretError, OSError, ValueError) as error:
            raise NoTokenError(
                f"no token {who}: the secret cannot be read: {error}", cause=NoTokenCause.SECRET
            ) from None
        why, retry_after_s, cause = "", None, NoTokenCause.UNKNOWN
        try:
            with _TokenSession(access.client_id, self._token_url, self._context) as session:
                token = session.fetch_token(
                    session.token_url_for_oauthlib,
                    client_secret=secret,
                    include_client_id=True,
                    audience=self._audience,
                )
            return _text_and_life(token)
        except NoTokenError as error:
            why, retry_after_s, cause = error.why, error.retry_after_s, error.cause
        except OAuth2Error as error:
            why = fields.plain_line(error.description or "", fields.PROBLEM_MAX_CHARS)
        except FAILURES as error:
            why = failure(error).why
        except Exception as error:  # noqa: BLE001  who waits for this fetch must hear of its end
            why = f"{type(error).__name__} while reading the answer"
        raise NoTokenError(f"no token {who} from {self._token_url}: {why}", retry_after_s, cause)


def _result(fetch: Future[str], wait_s: float) -> str:
    try:
        return fetch.result(max(wait_s, 0.0))
    except TimeoutError:
        raise NoTokenError("the token did not come in time") from None
    except NoTokenError as error:
        # one exception for each who waits: a raised one gathers its raiser's frames
        raise NoTokenError(error.why, error.retry_after_s, error.cause) from None


def _text_and_life(token: dict[str, Any]) -> tuple[str, float]:
    text, kind = token.get("access_token"), token.get("token_type", "Bearer")
    if not isinstance(text, str) or _TOKEN.fullmatch(text) is None:
        raise NoTokenError("the access_token cannot go into a header")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise NoTokenError("the token is of another type than Bearer")
    life_s = float(token.get("expires_in") or LIFE_UNTOLD_S)
    return text, min(life_s, LIFE_MAX_S) if life_s > 0 else LIFE_UNTOLD_S


# ---- requests-oauthlib on our transport -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shown:
    """The request as requests-oauthlib's log may know it."""

    url: str = "(not shown)"
    headers: str = "(not shown)"
    body: str = "(not shown)"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What requests-oauthlib reads of an answer."""

    text: str = field(repr=False)
    status_code: int = 200
    headers: str = "(not shown)"
    request: _Shown = _Shown()


class _TokenSession(Direct, OAuth2Session):
    """requests-oauthlib's session, with our transport and limits below it.

    It insists on https, and knows no loopback; which addresses may be called is settled here
    before (`parts_of`, and each connection). So it is told an address that it accepts, and
    `request` goes to the real one.
    """

    token_url_for_oauthlib: Final = "https://token.invalid/"  # noqa: S105 (an address)

    def __init__(self, client_id: str, token_url: str, context: ssl.SSLContext) -> None:
        super().__init__(client=BackendApplicationClient(client_id=client_id))
        set_up(self, context)
        self._real_url = token_url

    def request(self, *args: Any, **kwargs: Any) -> Any:
        del args
        data = kwargs["data"]
        request = prepared("POST", self._real_url, {"Accept": "application/json"}, data)
        got = exchange(self, request, Limits(FETCH_S, TOKEN_ANSWER_MAX_BYTES))
        return _Answer(_token_json(got, str(data["client_secret"])))


def _token_json(got: HttpAnswer, secret: str) -> str:
    """The answer as plain JSON that oauthlib can only take or refuse. Raises NoTokenError.

    No scope goes through: where it differs from what was asked for, oauthlib raises a Warning.
    """
    told = fields.json_object(got.body)
    if got.status != 200 or told is None or "error" in told:
        text, _ = fields.problem_text(without_secret(got.body, secret))
        what = text or ("not JSON" if told is None and got.body else "no reason given")
        refused = got.status in REFUSED_HTTP or (got.status == 200 and told is not None)
        raise NoTokenError(
            f"it answered {got.status} ({what})",
            fields.retry_after_s(got.headers),
            NoTokenCause.REFUSED if refused else NoTokenCause.UNKNOWN,
        )
    plain: dict[str, object] = {
        name: told[name] for name in ("access_token", "token_type") if name in told
    }
    life = _LIFE.match(str(told.get("expires_in", "")))
    if life is not None:
        plain["expires_in"] = int(life[0])
    return json.dumps(plain)


_LIFE: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


def without_secret(body: bytes, secret: str) -> bytes:
    """`body` with the secret taken out, for a service that tells our request back to us."""
    forms = (secret, quote(secret), quote_plus(secret), json.dumps(secret)[1:-1])
    for form in filter(None, forms):
        body = body.replace(form.encode(), b"...")
    return body


class _NoDebug(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


# at DEBUG it logs the token's whole answer
logging.getLogger("requests_oauthlib.oauth2_session").addFilter(_NoDebug())

"""Checks of the callback address: that it stands for somebody, and that what is sent to it comes in here.

- Seen from this machine alone. A router that does not lead a machine back to its own address outside ("hairpin")
  shows a fault where PartPay has none; a callback that came lately is the better witness, and is believed.
- While no daemon runs this program listens itself for a moment, under the state lock. It answers the probe, and 503
  to anything else, so that PartPay sends again what it could not bring.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from bridge.config import Settings
from bridge.control import BeginProbe
from bridge.doctor.finding import Said, note, ok, unknown, wrong
from bridge.doctor.partpay import server
from bridge.doctor.patient import Patient
from bridge.doctor.reach import addresses, request
from bridge.http_server import CannotListenError, HttpServer, Limits
from bridge.partpay.answers import Failure, HttpAnswer
from bridge.partpay.callback import BODY_MAX_BYTES
from bridge.probe import Probes, body_of
from drivers.line.loop import boottime

LATELY_S: Final = 7 * 86_400.0
"""A signed callback that came so lately shows that the way is open."""
HELP: Final = "see docs/behind-nat.md"


def address(patient: Patient) -> Iterator[Said]:
    """That it stands for somebody with a good certificate."""
    if patient.settings is None:
        return
    url = patient.settings.partpay.callback_url
    if url is None:
        found = "none: outcomes come by polling alone, some seconds later than by callback; that is supported"
        yield ok("[partpay] callback_url", found)
        return
    yield from server(url, f"[partpay] callback_url, {url}", patient, ours=True)


def comes_back(patient: Patient) -> Iterator[Said]:
    """That what is sent to the callback address comes in at this listener."""
    settings = patient.settings
    if settings is None or settings.partpay.callback_url is None:
        return
    url, listener = settings.partpay.callback_url, settings.listener.address
    looked_at = f"a question sent to {url}, for the listener at {listener}"
    try:
        addresses(url)
    except (OSError, UnicodeError):
        yield unknown(looked_at, "its name cannot be looked up")
        return
    if patient.running:
        told = patient.ask(BeginProbe())
        yield _judged(looked_at, patient, told["answer"], _asked(url, patient, told["question"]))
        return
    try:
        with _listening(patient, settings) as probes:
            told = probes.begin()
            yield _judged(
                looked_at, patient, told["answer"], _asked(url, patient, told["question"])
            )
    except CannotListenError as error:
        yield wrong(
            f"the listener's address, {listener}",
            str(error),
            f"ss -ltnp 'sport = :{listener.port}'",
        )


def _asked(url: str, patient: Patient, question: str) -> HttpAnswer | Failure:
    return request("POST", url, patient.tls_context(), body_of(question))


def _judged(looked_at: str, patient: Patient, answer: str, got: HttpAnswer | Failure) -> Said:
    assert patient.settings is not None
    listener = patient.settings.listener.address
    if isinstance(got, HttpAnswer) and got.status == 200 and got.body.strip() == answer.encode():
        return ok(looked_at, "it came in here")
    age_s = patient.status["callback_age_s"] if patient.status is not None else None
    if isinstance(got, Failure):
        found = f"nobody is reached from here: {got.why}"
        if age_s is not None and age_s < LATELY_S:
            return note(
                looked_at, f"{found}; but PartPay's callbacks come, the last one {age_s:.0f} s ago"
            )
        return wrong(looked_at, found, f"try it from outside, by a telephone; {HELP}")
    who = got.headers.get("server", "")
    found = f"it did not come in here: {got.status}" + (f" from {who}" if who else "")
    if got.status in (
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    ):
        found += "; the proxy is reached, and does not reach the bridge"
    elif 300 <= got.status < 400:
        found += f", to {got.headers.get('location', '?')}: PartPay follows no redirect"
    return wrong(looked_at, found, f"pass that route on to http://{listener}; {HELP}")


@contextmanager
def _listening(patient: Patient, settings: Settings) -> Iterator[Probes]:
    """A listener in the daemon's place, for as long as it lasts. Raises CannotListenError."""
    assert patient.locked is not None
    probes = Probes(boottime)
    with (
        patient.locked(),
        HttpServer(settings.listener.address, Limits(BODY_MAX_BYTES)) as listener,
    ):
        listener.start(_application(probes), lambda error: None)
        yield probes


def _application(probes: Probes) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        told = probes.answer(environ["wsgi.input"].read(BODY_MAX_BYTES))
        status = "503 Service Unavailable" if told is None else "200 OK"
        body = (told or "no daemon runs").encode()
        start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return answer

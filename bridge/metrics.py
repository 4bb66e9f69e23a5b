"""What is counted, for Prometheus: every name begins with `partpay_bridge_`.

The registry is our own, so that nothing of a library's comes along. No label has a value that comes
from outside (a terminal id, an order), so that the number of series has a bound.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_FAST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1.0)
_CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)


class Metrics:
    """Every counter there is, by name. Any thread may count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.outcomes = self._counter("outcomes", "Tenders and refunds by response code.", "code")
        self.refused = self._counter(
            "refused", "Messages answered by REFUSED, by reason.", "reason"
        )
        self.callbacks = self._counter("callbacks", "Callbacks by HTTP status.", "status")
        self.calls = self._counter(
            "partpay_calls", "Calls to PartPay, by call and result.", "call", "result"
        )
        self.call_seconds = self._histogram(
            "partpay_call_seconds", "How long PartPay took to answer.", _CALL_S, "call"
        )
        self.tender_to_image_seconds = self._histogram(
            "tender_to_image_seconds",
            "TENDER taken to its picture let out to be drawn, less PartPay's own time.",
            _FAST_S,
        )
        self.callback_to_outcome_seconds = self._histogram(
            "callback_to_outcome_seconds", "Callback taken to OUTCOME let out.", _FAST_S
        )
        self.batch_seconds = self._histogram(
            "engine_batch_seconds", "One batch decided and durably written.", _FAST_S
        )
        self.poisoned = self._counter("poisoned_events", "Events that could not be decided.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"partpay_bridge_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, limits: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"partpay_bridge_{name}", text, labels, buckets=limits, registry=self.registry
        )

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is read when it is asked for, such as "open_tenders". Must not wait."""
        Gauge(f"partpay_bridge_{name}", text, registry=self.registry).set_function(read)

    def about(self, version: str, environment: str) -> None:
        """Which program this is."""
        labels = ("version", "environment")
        about = Gauge("partpay_bridge_about", "This program.", labels, registry=self.registry)
        about.labels(version, environment).set(1)

    def page(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)

import re

from bridge.metrics import Metrics


def test_every_name_is_ours() -> None:
    metrics = Metrics()
    metrics.outcomes.labels("00").inc()
    metrics.call_seconds.labels("create").observe(0.2)
    metrics.gauge("open_tenders", "Tenders without an outcome.", lambda: 3)
    metrics.about("0.1.0", "sandbox")
    page = metrics.page().decode()
    assert 'partpay_bridge_outcomes_total{code="00"} 1.0' in page
    assert "partpay_bridge_open_tenders 3.0" in page
    assert 'partpay_bridge_about{environment="sandbox",version="0.1.0"} 1.0' in page
    names = re.findall(r"^([a-z_]+)", page, re.MULTILINE)
    assert names
    assert all(name.startswith("partpay_bridge_") for name in names)


def test_two_of_them_do_not_meet() -> None:
    first, second = Metrics(), Metrics()
    first.poisoned.inc()
    assert b"partpay_bridge_poisoned_events_total 0.0" in second.page()

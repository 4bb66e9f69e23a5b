import pytest

from bridge.partpay.api import Api, order_id_of

UUID = "123e4567-e89b-12d3-a456-426655440000"


def test_paths_take_the_order_id() -> None:
    api = Api(status_path="/v2/{order_id}/state")
    assert api.order_address(api.order_path, UUID) == f"/terminal/order/{UUID}"
    assert api.order_address(api.status_path, UUID) == f"/v2/{UUID}/state"


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a" * 37, "ä", "a\n", "{order_id}", "a?b"])
def test_what_is_no_order_id_goes_into_no_address(bad: str) -> None:
    assert order_id_of(bad) is None
    with pytest.raises(ValueError, match="order"):
        Api().order_address(Api().order_path, bad)


def test_a_uuid_is_one_id_in_either_case() -> None:
    assert order_id_of(UUID.upper()) == UUID
    assert order_id_of("Ab-1") == "Ab-1"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("create_path", "terminal/order"),
        ("create_path", "/terminal/{order_id}"),
        ("order_path", "/terminal/order"),
        ("order_path", "/terminal/{order_id}/{order_id}"),
        ("order_path", "/terminal/{order_id}/{x}"),
        ("status_path", "/a b/{order_id}"),
        ("merchant_header", "partpay merchant"),
        ("terminal_header", "x\r\ny"),
        ("idempotency_header", ""),
        ("callback_url_field", 'a"b'),
        ("qr_code_field", 7),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        Api(**{key: value})  # type: ignore[arg-type]

from pathlib import Path

import pytest

from bridge.secrets_files import Secret, SecretError, credential, secret_at

CANARY = "canary-4711"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_reads_the_file_afresh_each_time(tmp_path: Path) -> None:
    secret = Secret(written(tmp_path / "s", "one\n"))
    assert secret.read() == "one"
    written(tmp_path / "s", "two\r\n")
    assert secret.read() == "two"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601])
def test_refuses_what_group_or_others_can_reach(tmp_path: Path, mode: int) -> None:
    secret = Secret(written(tmp_path / "s", CANARY, mode))
    with pytest.raises(SecretError, match="can be read by others") as caught:
        secret.read()
    assert "chmod 600" in caught.value.remedy
    assert CANARY not in str(caught.value)


def test_systemd_credentials_are_exempt(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    written(tmp_path / "partpay-client-secret", "shh", 0o440)
    found = credential("partpay-client-secret", environ)
    assert found is not None
    assert found.read() == "shh"
    assert secret_at(tmp_path / "partpay-client-secret", environ).read() == "shh"
    assert credential("partpay-callback-key", environ) is None
    assert credential("partpay-client-secret", {}) is None


def test_a_file_beside_the_credentials_is_not_exempt(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    path = written(tmp_path / "credentials-copy", "shh", 0o440)
    with pytest.raises(SecretError):
        secret_at(path, environ).read()


def test_up_to_two_callback_keys(tmp_path: Path) -> None:
    path = written(tmp_path / "k", "iDt3PoeoSHu3r/mTbzkaHg\n\nsecond\n")
    assert Secret(path).read_keys() == (b"iDt3PoeoSHu3r/mTbzkaHg", b"second")
    written(path, "a\nb\nc\n")
    with pytest.raises(SecretError, match="3 keys"):
        Secret(path).read_keys()


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "empty"), (b" \n", "empty"), (b"a\nb", "more than one line"), (b"\xff\xfe", "not text")],
)
def test_says_what_is_wrong_with_the_content(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "s"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretError, match=what):
        Secret(path).read()


def test_says_what_is_wrong_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="No such file"):
        Secret(tmp_path / "missing").read()
    with pytest.raises(SecretError, match="no plain file"):
        Secret(tmp_path).read()
    with pytest.raises(SecretError, match="larger than"):
        Secret(written(tmp_path / "large", "x" * 5000)).read()


def test_nothing_prints_a_secret(tmp_path: Path) -> None:
    secret = Secret(written(tmp_path / "s", CANARY))
    secret.read()
    assert CANARY not in repr(secret)
    assert CANARY not in f"{secret}"

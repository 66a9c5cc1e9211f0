"""Values of options: what is no such value is told to the user by the name of the option."""

from __future__ import annotations

import pytest

from dulwich_reftable.cli import main
from dulwich_reftable.cli.option_types import address, count, port, positive


def test_what_is_read() -> None:
    assert count("12") == 12
    assert positive("0.5") == 0.5
    assert port("0") == 0
    assert address("localhost:9100") == ("localhost", 9100)
    assert address("[::1]:9100") == ("::1", 9100)
    assert address(":9100") == ("127.0.0.1", 9100)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--metrics", "x"),
        ("--metrics", "127.0.0.1:x"),
        ("--metrics", "127.0.0.1:70000"),
        ("--rate", "0"),
        ("--rate", "-1"),
        ("--rate", "nan"),
        ("--rate", "inf"),
        ("--deadline", "1e300"),
        ("--timeout", "x"),
        ("--max-per-address", "0"),
        ("--max-connections", "-5"),
        ("--workers", "1.5"),
        ("--worker-memory", "\u0662"),
        ("--proxies", "0"),
        ("--port", "65536"),
    ],
)
def test_what_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", f"{option}={value}", "."])
    assert ended.value.code == 2
    assert f"argument {option}: expected " in capsys.readouterr().err

"""Commands end with the right code, and say no more than they must."""

import pytest

from v2s_jax.cli.run import run_cli
from v2s_jax.errors import InputError


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


def test_good_end_is_silent(capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(lambda: None)
    assert caught.value.code == 0
    assert capsys.readouterr() == ("", "")


def test_bad_input_is_one_line_and_code_2(capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(raising(InputError("clip.mp4: no sound: give another")))
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "error: clip.mp4: no sound: give another\n")


def test_ctrl_c_is_code_130(capsys):
    with pytest.raises(SystemExit) as caught:
        run_cli(raising(KeyboardInterrupt()))
    assert caught.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli(raising(ZeroDivisionError()))

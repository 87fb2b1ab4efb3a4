"""The `v2s` command: its help, unknown commands, and exit codes."""

import subprocess
import sys

import pytest

from v2s_jax import __version__
from v2s_jax.cli.main import COMMANDS, run_command
from v2s_jax.cli.run import run_cli
from v2s_jax.errors import InputError


def run(capsys, monkeypatch, *args: str) -> tuple[int | str | None, str, str]:
    monkeypatch.setattr(sys, "argv", ["v2s", *args])
    with pytest.raises(SystemExit) as exit_info:
        run_cli(run_command)
    return exit_info.value.code, *capsys.readouterr()


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_help_lists_the_commands(capsys, monkeypatch, args):
    code, out, err = run(capsys, monkeypatch, *args)
    assert code == 0 and not err
    assert all(f"  {name} " in out for name in COMMANDS)


def test_version(capsys, monkeypatch):
    assert run(capsys, monkeypatch, "--version") == (0, f"{__version__}\n", "")


def test_unknown_command(capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch, "smaple", "--help")
    assert code == 2 and not out and err.count("\n") == 1
    assert err.startswith("error: v2s smaple: unknown: did you mean sample? ")


def test_import_and_help_do_not_import_jax():
    program = (
        "import sys; sys.argv = ['v2s', '--help']; import v2s_jax; "
        "from v2s_jax.cli.main import run_command; run_command(); "
        "sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 0, ""),
        (
            InputError("clip.mp4: no audio: give another"),
            2,
            "error: clip.mp4: no audio: give another\n",
        ),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
    ids=["success", "bad input", "ctrl-c"],
)
def test_exit_codes(capsys, error, code, message):
    def main() -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as exit_info:
        run_cli(main)
    assert exit_info.value.code == code
    assert capsys.readouterr() == ("", message)


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_cli(lambda: print(1 / 0))

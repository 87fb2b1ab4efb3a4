"""The `v2s` command: its help, unknown commands, and exit codes."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

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


def v2s(*args: object, shell: str = "", **options) -> subprocess.CompletedProcess[str]:
    """Run the command behind `shell`, a redirection."""
    command = [sys.executable, "-m", "v2s_jax", *map(str, args)]
    return subprocess.run(
        ["bash", "-c", f'"$@" {shell}', "bash", *command],
        **{"capture_output": True, "text": True, **options},
    )


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@needs_full
@pytest.mark.parametrize("args", [("--help",), ("study", "--help")], ids=["print", "tyro"])
def test_full_standard_output_is_one_line(args):
    process = v2s(*args, shell=">/dev/full")
    assert process.returncode == 2
    assert process.stderr.startswith("error: standard output: cannot be written (No space left")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "code"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("2>/dev/full", 0)]
)
def test_closed_streams(shell, code):
    process = v2s("--help", shell=shell)
    assert (process.returncode, process.stderr) == (code, "")


def test_a_reader_that_has_gone_is_no_error():
    process = v2s("--help", shell="| true; exit ${PIPESTATUS[0]}")
    assert process.returncode in (0, 141) and process.stderr == ""


def test_names_cannot_change_the_terminal(tmp_path):
    name = b"a\nerror: b\x1b[31m \xff\xc2\x9b.mp4"
    path = os.fsencode(tmp_path) + b"/" + name
    process = v2s("study", "score", os.fsdecode(path), "--answers", "x")
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert r"a\nerror: b\x1b[31m \xff\x9b.mp4" in process.stderr


INTERRUPTED = {
    "while modules are imported": """
with exit_on_interrupt():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except BaseException:  # as imported code may swallow it
        time.sleep(60)
""",
    "twice": """
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
finally:  # cleaning up takes long
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
""",
    "once": """
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
""",
}


@pytest.mark.parametrize("case", INTERRUPTED)
def test_ctrl_c_is_one_word(case):
    program = (
        "import os, signal, time\n"
        "from v2s_jax.cli.run import exit_on_interrupt, run_cli\n"
        f"def main():\n{textwrap.indent(INTERRUPTED[case], '    ')}\n"
        "run_cli(main)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (process.returncode, process.stderr) == (130, "stopped\n")


@pytest.mark.parametrize(
    "args", [("sample", "x" * 300, "--out", "o"), ("study", "score", "x" * 300, "--answers", "a")]
)
def test_a_path_that_the_system_refuses_is_one_line(args):
    process = v2s(*args)
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "(File name too long)" in process.stderr


@pytest.mark.parametrize("name", ["sample", "doctor"])
def test_a_platform_that_is_not_there_is_one_line(name, tmp_path):
    args = [tmp_path, "--out", tmp_path / "out"] if name == "sample" else []
    process = v2s(name, *args, env=os.environ | {"JAX_PLATFORMS": "cuda"})
    assert "Traceback" not in process.stdout + process.stderr
    assert "JAX finds none" in process.stdout + process.stderr
    assert process.returncode == (2 if name == "sample" else 1)

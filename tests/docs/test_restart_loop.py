"""`run.sh` of docs/tpu.md restarts what was lost, a bounded number of times."""

import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tpu.md"


def run_loop(folder: Path, codes: list[int], **env: str) -> tuple[int, int]:
    """Run the loop with a command that ends with these codes, the last one forever.

    Returns the exit code of the loop, and how often it ran the command.
    """
    script = re.search(r"```bash\n(#!/usr/bin/env bash\n.*?)```", PAGE.read_text(), re.DOTALL)
    venv = folder / "v2s_jax" / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "activate").write_text(f"PATH={venv}:$PATH\n")
    (venv / "v2s").write_text(
        f"""#!/usr/bin/env bash
echo run >> {folder}/runs
codes=({" ".join(map(str, codes))})
count=$(wc -l < {folder}/runs)
exit ${{codes[$((count <= {len(codes)} ? count - 1 : {len(codes) - 1}))]}}
"""
    )
    (venv / "v2s").chmod(0o755)
    loop = subprocess.run(
        ["bash", "-c", script[1]],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "PAUSE_SEC": "0", **env},
        capture_output=True,
        timeout=60,
    )
    return loop.returncode, len((folder / "runs").read_text().splitlines())


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([0], (0, 1)),
        ([2], (2, 1)),  # the user's error: it would only come again
        ([143], (143, 1)),  # preempted
        ([134, 137, 0], (0, 3)),
        ([134, 2], (2, 2)),
    ],
)
def test_only_lost_runs_are_restarted(tmp_path, codes, expected):
    assert run_loop(tmp_path, codes) == expected


def test_restarts_are_bounded(tmp_path):
    assert run_loop(tmp_path / "ten", [134]) == (134, 11)
    assert run_loop(tmp_path / "three", [1], MAX_RESTARTS="3") == (1, 4)

"""What is imported: a start is fast because most libraries wait until they are needed."""

import os
import subprocess
import sys
from pathlib import Path

from v2s_jax.examples import EXAMPLE_VIDEO

IMPORT = "import v2s_jax"
COMMAND = "from v2s_jax.cli.main import run_command; run_command()"
NOT_FOR_HELP = ("numpy", "jax", "flax", "tyro")
NOT_FOR_SOUND = (
    *("v2s_jax.training", "v2s_jax.evaluation", "v2s_jax.figures.key_frames", "matplotlib", "PIL"),
    *("scipy", "fsspec", "orbax", "tensorflow", "tensorboard", "apache_beam", "keras", "librosa"),
    *("sklearn", "gradio", "tensorflow_datasets"),
)


def imported(names: tuple[str, ...], program: str, *args: str) -> list[str]:
    """Run a program; return which of these modules it has imported."""
    report = f"; print([name for name in {names} if name in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}{report}", *args],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return eval(process.stdout.splitlines()[-1])


def test_import_and_help() -> None:
    assert imported(NOT_FOR_HELP, IMPORT) == []
    assert imported(NOT_FOR_HELP, COMMAND, "--help") == []


def test_first_sound(tmp_path: Path, engine_of_auto: str) -> None:
    args = ("sample", "--video", str(EXAMPLE_VIDEO), "--out", str(tmp_path / "out"))
    assert imported(NOT_FOR_SOUND, COMMAND, *args) == []
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".wav", ".mp4", ".png"}

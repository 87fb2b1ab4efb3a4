"""Short videos in class folders."""

from pathlib import Path

import pytest

from tests.ffmpeg import run_ffmpeg


def video(path: Path, sec: float = 1.0, tone_hz: int = 440) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    run_ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc=size=32x32:rate=25:duration={sec}"),
        *("-f", "lavfi", "-i", f"sine=frequency={tone_hz}:duration={sec}"),
        *("-c:v", "libx264", "-preset", "ultrafast", path),
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two categories of three clips."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(6):
        name = f"{('dog', 'drum')[number // 3]}/videos/video_{number % 3:05d}.mp4"
        video(root / name, 0.7 + 0.2 * (number % 3), 300 + 50 * number)
    return root

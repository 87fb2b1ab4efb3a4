"""ffmpeg, to make test files."""

import subprocess

import imageio_ffmpeg


def run_ffmpeg(*arguments: object) -> bytes:
    """Run ffmpeg, replacing files; return its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y"]
    return subprocess.run(
        [*command, *(str(argument) for argument in arguments)], check=True, capture_output=True
    ).stdout

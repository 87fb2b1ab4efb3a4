"""Files of every kind, made by ffmpeg itself."""

import subprocess

import imageio_ffmpeg


def run_ffmpeg(*arguments: object) -> bytes:
    """Run it, replacing files; return what it wrote to stdout."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y"]
    return subprocess.run(
        [*command, *(str(argument) for argument in arguments)], check=True, capture_output=True
    ).stdout

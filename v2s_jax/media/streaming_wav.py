"""A wav file that is whole at every instant: the sound first, then the sizes in its header."""

import wave
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float32

from v2s_jax.errors import InputError
from v2s_jax.io import UMASK, make_temp_file
from v2s_jax.media.encode import pcm16

_HEADER_BYTES = 36  # of the size in a wav's header that are not sound
_MOST_BYTES = 2**32 - 1 - _HEADER_BYTES  # sizes have 32 bits


class StreamingWav:
    """Mono 16-bit PCM that is appended to. A file that is cut off holds what its header says.

    It begins under a temporary name and appears under its own with the first samples: what is
    there already stays until then, and for good when none come. Raises InputError when the file is
    there already and may not be replaced, cannot be written, or is full: 37 hours at 16 kHz.
    """

    def __init__(self, path: Path, sample_rate_hz: int, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._bytes = 0
        if path.is_dir():
            raise InputError(f"{path}: is a folder: name a file")
        if path.exists() and not overwrite:
            raise self._in_the_way()
        self._temporary: Path | None = make_temp_file(path.parent, path.suffix)
        self._file = self._temporary.open("wb")
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115
        self._wav.setnchannels(1)
        self._wav.setsampwidth(2)
        self._wav.setframerate(sample_rate_hz)

    def __enter__(self) -> "StreamingWav":
        return self

    def write(self, waveform: Float32[np.ndarray, " samples"]) -> None:
        """Append samples in [-1, 1]."""
        data = pcm16(waveform).tobytes()
        self._bytes += len(data)
        if self._bytes > _MOST_BYTES:
            raise InputError(f"{self._path}: a wav holds no more than 4 GiB: use raw PCM, --out -")
        try:
            self._wav.writeframes(data)  # the header's sizes too, after the sound
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self._appear()

    def _appear(self) -> None:
        """Give the file its name; it goes on growing under it."""
        if self._temporary is None:
            return
        try:
            if not self._overwrite:
                self._path.open("xb").close()  # nobody else's file, made meanwhile, is replaced
            self._temporary.chmod(0o666 & ~UMASK)
            self._temporary.replace(self._path)
        except FileExistsError as error:
            raise self._in_the_way() from error
        except OSError as error:
            raise self._unwritable(error) from error
        self._temporary = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._wav.close()
            self._file.close()
            if error is None:
                self._appear()
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def _in_the_way(self) -> InputError:
        return InputError(f"{self._path}: there already: use --overwrite or another --out")

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self._path}: cannot be written ({error.strerror}): free space or choose another "
            "folder"
        )

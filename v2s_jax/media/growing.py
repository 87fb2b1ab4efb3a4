"""A wav file that is whole at every instant: the sound first, then the sizes in its header."""

import wave
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float32

from v2s_jax.errors import InputError
from v2s_jax.media.writing import pcm16

_HEADER_BYTES = 36  # of the size in a wav's header that are not sound
_MOST_BYTES = 2**32 - 1 - _HEADER_BYTES  # sizes have 32 bits


class GrowingWav:
    """Mono 16-bit PCM that is appended to. A file that is cut off holds what its header says.

    Raises InputError when the file is there already and may not be replaced, cannot be written,
    or is full: 37 hours at 16 kHz.
    """

    def __init__(self, path: Path, sample_rate_hz: int, *, overwrite: bool) -> None:
        self._path = path
        self._bytes = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb" if overwrite else "xb")
        except FileExistsError as error:
            raise InputError(f"{path}: there already: use --overwrite or another --out") from error
        except OSError as error:
            raise self._unwritable(error) from error
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115
        self._wav.setnchannels(1)
        self._wav.setsampwidth(2)
        self._wav.setframerate(sample_rate_hz)

    def __enter__(self) -> "GrowingWav":
        return self

    def write(self, waveform: Float32[np.ndarray, "samples"]) -> None:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._wav.close()
        self._file.close()

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self._path}: cannot be written ({error.strerror}): free space or choose another "
            "folder"
        )

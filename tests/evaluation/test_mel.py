"""librosa is imported by one process at a time, so that numba's cache cannot be corrupted."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import librosa
import librosa.onset  # so that without the lock the import would return at once
import pytest

from v2s_jax.evaluation import mel

HELD_SEC = 0.3


def test_import_waits_for_another_process():
    """The lock belongs to the open file, so a thread stands in for a process."""
    mel.librosa.cache_clear()
    handle = os.open(Path(librosa.__path__[0]), os.O_RDONLY)
    loading = Thread(target=mel.librosa)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        loading.start()
        loading.join(HELD_SEC)
        assert loading.is_alive()
    finally:
        os.close(handle)
    loading.join()
    assert mel.librosa() is librosa


SCRIPT = """
import sys
import numpy as np
from v2s_jax.evaluation.report import clip_figure
from v2s_jax.evaluation import mel, onsets, spectral

def loaded():
    return {name for name in sys.modules if name.startswith("librosa.")} - {"librosa.version"}

assert not loaded(), loaded()
library = mel.librosa()
at_once = loaded()
sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
onsets.detect_onsets(sound, 16_000)
spectral.distances(sound, sound[::-1].copy(), 16_000)
library.hz_to_mel(1_000.0)
assert loaded() == at_once, loaded() - at_once
"""


@pytest.mark.slow
def test_everything_used_is_imported_under_the_lock():
    """Nothing on import of our modules, and nothing later, without the lock."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr

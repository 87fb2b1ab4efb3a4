"""librosa is loaded by one process at a time, since numba's files for it bear no two writers."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import librosa
import librosa.onset  # so that without the lock nothing would take time

from v2s_jax.evaluation import sound_library

HELD_SEC = 0.3


def test_it_is_waited_for_while_another_loads_it():
    """The lock belongs to who opened the folder, so a thread does for a process."""
    sound_library.librosa.cache_clear()
    handle = os.open(Path(librosa.__path__[0]), os.O_RDONLY)
    loading = Thread(target=sound_library.librosa)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        loading.start()
        loading.join(HELD_SEC)
        assert loading.is_alive()
    finally:
        os.close(handle)
    loading.join()
    assert sound_library.librosa() is librosa


MEASURED = """
import sys
import numpy as np
from v2s_jax.evaluation.report.json_report import clip_figure
from v2s_jax.evaluation import detector, mel, sound_library, spectral

def loaded():
    return {name for name in sys.modules if name.startswith("librosa.")} - {"librosa.version"}

assert not loaded(), loaded()
library = sound_library.librosa()
at_once = loaded()
sound = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
detector.onsets(sound, 16_000)
spectral.distances(sound, sound[::-1].copy(), 16_000)
library.hz_to_mel(1_000.0)
assert loaded() == at_once, loaded() - at_once
"""


def test_what_is_used_of_it_is_loaded_at_once():
    """Not on import, which training and --help do too, and nothing later, without the lock."""
    ended = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr

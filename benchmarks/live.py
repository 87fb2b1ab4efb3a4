"""Picture to ear: how late the sound of a camera or a file is, by stage (`benchmarks streaming`).

The camera is ffmpeg's test picture, 640 x 480 px and 30 a second, stamped by the wall clock as it
is read; a webcam's exposure and cable come on top, as does the player's own delay.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks.common import Row
from benchmarks.input import write_videos
from v2s_jax.errors import InputError
from v2s_jax.media.live import LiveInput, open_file, open_test_camera
from v2s_jax.sonification import SampleOptions
from v2s_jax.sonification.live import LiveModel

AIM_MS = {"pixels": 100, "controls": 150}
"""Aim for two cores, by extractor (ours): the 99th percentile beyond the block itself."""
LIVE_NOTES = """\
first sound: from opening the camera or file to the first block at the player, lookahead included.
lookahead: video frames by which aligned waits, not counted in what follows.
capture: from the middle of a video frame to its pixels here, with the wait for the next picture.
beyond block: from the end of the video frame to its sound at the player; the aim is for the p99."""


def live_sources(folder: Path) -> dict[str, LiveInput]:
    """Return a camera and a file of 10 s."""
    write_videos(folder, 1)
    (video,) = folder.rglob("*.mp4")
    return {"camera": open_test_camera(), "file": open_file(video)}


def measure_live(checkpoint: Path, name: str, source: LiveInput) -> Row:
    """Play an input without a player, and return the times of its blocks."""
    model = LiveModel(SampleOptions(checkpoint=checkpoint))
    start, first_sec, delays = time.perf_counter(), 0.0, []
    for block in model.play(source, "none"):
        first_sec = first_sec or time.perf_counter() - start
        if block.delay is not None:
            delays.append(block.delay)
    if not delays:
        raise InputError("--live-sec: shorter than the lookahead: use more, such as 10")
    stages_ms = 1e3 * np.array(delays)
    half_frame_ms = 1e3 * float(model.config.clock.video_frame_time_sec(0))
    beyond_ms = stages_ms.sum(axis=1) - half_frame_ms
    capture, features, sampling = np.median(stages_ms, axis=0)
    _, features_p99, sampling_p99 = np.percentile(stages_ms, 99, axis=0)
    return {
        "extractor": model.config.extractor,
        "source": name,
        "engine": model.settings.engine,
        "weights": model.settings.weights,
        "blocks": len(delays),
        "first_sound_ms": 1e3 * first_sec,
        "lookahead_frames": model.config.model.context_future,
        "capture_ms": float(capture),
        "features_ms": float(features),
        "features_ms_p99": float(features_p99),
        "sampling_ms": float(sampling),
        "sampling_ms_p99": float(sampling_p99),
        "beyond_block_ms_first": float(beyond_ms[0]),
        "beyond_block_ms_median": float(np.median(beyond_ms)),
        "beyond_block_ms_p99": float(np.percentile(beyond_ms, 99)),
        "aim_ms": AIM_MS.get(model.config.extractor),
    }

"""Folders for av-benchmark, one for each model that was evaluated; all of them or none."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from v2s_jax.evaluation.clip_metrics import ReferenceClips
from v2s_jax.evaluation.export import VIDEO_SUFFIX, export_folder
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.report.clip_videos import find_videos
from v2s_jax.evaluation.selection import Selection
from v2s_jax.io import atomic_directory


def export_models(
    folder: Path,
    models: Sequence[Model],
    clips: Selection,
    known: ReferenceClips,
    make: Callable[[Model], Sequence[Float32[np.ndarray, " _"]]],
) -> str:
    """Write FOLDER/MODEL for each model, see export.py; say how av-benchmark is called on it.

    `make` gives a model's sound of each clip.
    """
    rate_hz, videos = known.config.clock.sample_rate_hz, _videos(clips)
    with atomic_directory(folder.resolve()) as temporary:
        for model in models:
            export = export_folder(
                temporary / model.name,
                known.clip_ids,
                known.categories,
                make(model),
                known.true,
                rate_hz,
                videos,
            )
    words = " ".join(export.options)
    return (
        f"{folder}: {export.clip_count} clips for av-benchmark, in a folder for each model: "
        f"--gt_audio MODEL/gt_audio --pred_audio MODEL/pred_audio {words}"
    )


def _videos(clips: Selection) -> dict[str, Path] | None:
    """Return the videos that lie beside the data set's clips, as those of synthetic sets do.

    None unless each is there, as a file that av-benchmark looks for.
    """
    found = {clip_id: video.path for clip_id, video in find_videos(clips, None).items()}
    usable = all(path.suffix.lower() == VIDEO_SUFFIX for path in found.values())
    return found if usable and found.keys() >= set(clips.clip_ids) else None

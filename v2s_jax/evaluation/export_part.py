"""Folders for av-benchmark, one for each model that was evaluated; all of them or none."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import clip_file
from v2s_jax.evaluation.export import VIDEO_SUFFIX, export_folder
from v2s_jax.evaluation.measured import KnownClips
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.selection import Selection
from v2s_jax.files import check_writable, reading, whole_folder


def check_unused(folder: Path) -> None:
    """Raise InputError unless an export can be put there: new or empty, in a folder to write in."""
    with reading(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"--export {folder}: holds something: name a new folder, or empty it")
    check_writable(folder.resolve().parent)


def export_models(
    folder: Path,
    models: Sequence[Model],
    clips: KnownClips,
    make: Callable[[Model], Sequence[Float32[np.ndarray, "_"]]],
    videos: dict[str, Path] | None,
) -> str:
    """Write FOLDER/MODEL for each model, see export.py; say how av-benchmark is called on it.

    `make` gives a model's sound of each clip.
    """
    rate_hz = clips.config.clock.sample_rate_hz
    with whole_folder(folder.resolve()) as temporary:
        for model in models:
            export = export_folder(
                temporary / model.name,
                clips.clip_ids,
                clips.categories,
                make(model),
                clips.true,
                rate_hz,
                videos,
            )
    words = " ".join(export.options)
    return (
        f"{folder}: {export.clip_count} clips for av-benchmark, in a folder for each model: "
        f"--gt_audio MODEL/gt_audio --pred_audio MODEL/pred_audio {words}"
    )


def videos_of(clips: Selection) -> dict[str, Path] | None:
    """Return the videos that lie beside the data set's clips, as those of synthetic sets do.

    None unless each is there, as a file that av-benchmark looks for.
    """
    videos = {}
    for clip in range(len(clips)):
        record = clips[clip]
        path = Path(str(clip_file(clips.data, record, VIDEO_SUFFIX)))
        if not path.is_file():
            return None
        videos[record.clip_id] = path
    return videos

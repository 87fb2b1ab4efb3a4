"""The mark of origin: metadata of an output that says it is generated, and how.

It is one comment: a sentence for people, then JSON in ASCII. It names files without their folders,
which would tell strangers about the user's machine, and has no dates, so that equal commands write
equal bytes.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from v2s_jax import __version__
from v2s_jax.config import Config
from v2s_jax.errors import InputError
from v2s_jax.io import file_hash, wrap_read_errors
from v2s_jax.media import GENERATED, NO_TAGS, Tags, read_metadata
from v2s_jax.pretrained import PRETRAINED
from v2s_jax.sonification.options import DEFAULT_OPTIONS, SampleOptions
from v2s_jax.sonification.settings import GenerationSettings

SENTENCE = f"{GENERATED}: "
"""Starts the comment, JSON follows."""
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media that a trained model made."""
MAX_COMMENT_CHARS = 2**16
"""Longest mark that is read (ours): five names of 255 bytes, escaped, are 8,000."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a sound was generated. Fields that are None play no part."""

    software: str
    checkpoint: str
    """Name of a pretrained model, a file or the folder of a run."""
    params_sha256: str
    variant: str
    engine: str
    weights: str
    batch_size: int
    temperature: float | int
    seed: int
    device: str | None = None
    video: str | None = None
    """Name of the source video; `-` for standard input."""
    video_sha256: str | None = None
    stream: bool | None = None
    seconds: float | int | None = None
    """Length of a sound without a video."""
    category: str | None = None
    controls: str | None = None
    controls_sha256: str | None = None
    loudness_gain: float | int | None = None
    loudness_offset: float | int | None = None
    controls_shift_ms: float | int | None = None
    prefix: str | None = None
    prefix_sha256: str | None = None
    original: str | None = None
    original_gain_db: float | int | None = None
    max_retries: int | None = None
    vgg19_weights: str | None = None
    motion_weights: str | None = None


def provenance_of(
    config: Config, options: SampleOptions, settings: GenerationSettings
) -> Provenance:
    """Describe what generates with these options; the video or `seconds` is still missing.

    Raises InputError when a file that the options name cannot be read.
    """
    weights = options.weight_files
    files = {
        "controls": options.controls,
        "prefix": options.prefix,
        "vgg19_weights": weights.vgg19_weights,
        "motion_weights": weights.motion_weights,
    }
    stated: dict[str, Any] = {name: path.name for name, path in files.items() if path is not None}
    for name in ("controls", "prefix"):
        path = files[name]
        if path is not None and path.is_file():  # a pipe can be read only once
            with wrap_read_errors(path):
                stated[f"{name}_sha256"] = file_hash(path).hex()
    for name in (
        *("category", "loudness_gain", "loudness_offset", "controls_shift_ms"),
        *("original", "original_gain_db", "max_retries"),
    ):
        value = getattr(options, name)
        if value != getattr(DEFAULT_OPTIONS, name):
            stated[name] = value
    return Provenance(
        software=f"v2s_jax {__version__}",
        checkpoint=_checkpoint_name(Path(options.checkpoint)),
        params_sha256=settings.model_sha256,
        variant=config.model.variant,
        engine=settings.engine,
        weights=settings.weights,
        batch_size=settings.batch_size,
        temperature=settings.temperature,
        seed=settings.seed,
        device=settings.device,
        **stated,
    )


def _checkpoint_name(checkpoint: Path) -> str:
    for name, path in PRETRAINED.items():
        if checkpoint == path:
            return name
    return checkpoint.name or checkpoint.resolve().name


def tags_of(provenance: Provenance | None, **missing: Any) -> Tags:
    """Return the tags of a file; none for None. `missing` are fields to fill in."""
    if provenance is None:
        return NO_TAGS
    given = asdict(replace(provenance, **missing)).items()
    stated: dict[str, Any] = {name: value for name, value in given if value is not None}
    source_type = {"digital_source_type": DIGITAL_SOURCE_TYPE}
    comment = SENTENCE + json.dumps(stated | source_type)
    return {"comment": comment, "software": provenance.software} | source_type


def read_provenance(path: Path) -> Provenance:
    """Return how the sound of a wav, a video or a figure was generated.

    Raises InputError when the file cannot be read, has no mark, or a damaged one.
    """
    comment = _read_comment(path) or ""
    if not comment.startswith(SENTENCE):
        raise InputError(
            f"{path}: has no mark of origin: give a file that v2s sample wrote, without "
            "--no-metadata"
        )
    try:
        text = comment[len(SENTENCE) : MAX_COMMENT_CHARS]
        stated, _ = json.JSONDecoder().raw_decode(text)  # a video's own comment may follow
        return _parse(stated)
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: its mark of origin is damaged or of another version ({error}): give the "
            "file as v2s sample wrote it"
        ) from error


def _read_comment(path: Path) -> str | None:
    if _is_png(path):
        from v2s_jax.figures import read_png_tags

        return read_png_tags(path).get("comment")
    return read_metadata(path).get("comment")


def _is_png(path: Path) -> bool:
    if not path.is_file():
        return False
    with wrap_read_errors(path), path.open("rb") as file:
        return file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE


def _parse(stated: Any) -> Provenance:
    """Check the types; fields that later versions add are left out.

    Raises ValueError or TypeError for a mark that this program cannot have written.
    """
    if not isinstance(stated, dict):
        raise ValueError("it is no object")
    hints = get_type_hints(Provenance)
    known = {field.name: stated[field.name] for field in fields(Provenance) if field.name in stated}
    for name, value in known.items():
        if not isinstance(value, hints[name]):
            raise ValueError(f"{name} is {type(value).__name__}")
        if isinstance(value, str) and b"\0" in os.fsencode(value):
            raise ValueError(f"{name} is not the name of a file")
    return Provenance(**known)

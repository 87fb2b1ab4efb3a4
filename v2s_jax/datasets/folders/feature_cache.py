"""Features that were made before, found by what they were made from.

An entry is one pass of a file. Its key is a digest of the file's bytes, of the extractor with its
weights, and of the length and clock asked for: names, folders and splits do not count, so none of
these, when it changes, makes anything be computed again.
"""

import dataclasses
import hashlib
import io
import json
from dataclasses import dataclass

import numpy as np
from etils import epath

from v2s_jax.datasets.folders.decode import ClipLength, DecodedClip
from v2s_jax.datasets.remote import write_bytes
from v2s_jax.features.extractor import ExtractorSpec
from v2s_jax.io import ZIP_ERRORS

READING_VERSION = 1
"""Raised whenever the same file would give other features or sound."""


def pass_key(sha256: str, extractor: ExtractorSpec, shape: ClipLength) -> str:
    """Return the key of a file's pass; the extractor's weights must be resolved to digests."""
    made_from = {
        "reading_version": READING_VERSION,
        "file": sha256,
        "extractor": extractor.name,
        "extraction": dataclasses.asdict(extractor.extraction),
        "clock": dataclasses.asdict(shape.clock),
        "video_frames": shape.video_frames,
        "min_sec": shape.min_sec,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class FeatureCache:
    """A folder of passes: a local path or a URL."""

    folder: str

    def path(self, key: str) -> epath.Path:
        """Return where an entry lies, whether or not it is there."""
        return epath.Path(self.folder) / key[:2] / f"{key}.npz"

    def read(self, key: str) -> DecodedClip | None:
        """Return an entry; None when there is none, or it is damaged."""
        try:
            data = self.path(key).read_bytes()
            with np.load(io.BytesIO(data), allow_pickle=False) as entry:  # checks each CRC
                facts = json.loads(str(entry["facts"]))
                return DecodedClip(
                    waveform=entry["waveform"],
                    appearance=entry["appearance"],
                    motion=entry["motion"],
                    source_sec=facts["source_sec"],
                    corrections=tuple(facts["corrections"]),
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, *ZIP_ERRORS):
            return None

    def write(self, key: str, once: DecodedClip) -> None:
        """Keep a pass; it appears when it is whole."""
        facts = json.dumps({"source_sec": once.source_sec, "corrections": once.corrections})
        file = io.BytesIO()
        np.savez(
            file,
            waveform=once.waveform,
            appearance=once.appearance,
            motion=once.motion,
            facts=np.array(facts),
        )
        write_bytes(self.path(key), file.getvalue())

"""Controls from a video: what is in it says which category, its motion says when and how loud.

    mass       of each category: that of an ImageNet classifier's classes (`features.imagenet`),
               averaged over the shot so far; a cut begins a new average
    evidence   mass over DOUBT and the mass that chance gives (`features.imagenet.categories`)
    category   evidence ** SHARPNESS, divided by its sum over the categories
    speed(i)   mean of |flow - camera| from video frame i - 1 to i, in px of a video 128 px wide,
               camera = median flow
    activity   log(speed / STILL_PX) / log(FAST_PX / STILL_PX), clipped to [0, 1]
    curves     loudness and onset strength of the likeliest category's own excerpts, which follow
               activity and its rise (`features.excerpts`)

Motion is a weak guide to loudness; curves by hand can replace it.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, Float16, Float32, UInt8

from v2s_jax.config import ExtractorConfig
from v2s_jax.errors import InputError
from v2s_jax.features import Extractor
from v2s_jax.features.controls import CONTROLS_VERSION
from v2s_jax.features.excerpts import ExcerptPlayer, MotionTracker
from v2s_jax.features.imagenet.categories import evidence, masses
from v2s_jax.features.imagenet.network import INPUT_PX, class_probabilities, start_compiling
from v2s_jax.features.imagenet.seen import SeenInVideo
from v2s_jax.features.optical_flow import FlowFn, luminance, open_flow
from v2s_jax.types import FrameFeatures

FLOW_PX = 128
CLASSIFIED_EVERY = 4
"""Video frames per classified one: four a second, since one takes 25 ms on a CPU."""
SHARPNESS = 8
"""Training knows one category at a time, so the distribution is brought close to one: one with
half the evidence of the likeliest gets 0.4 %."""
MIN_MASS = 1e-6
"""Where nothing is seen, not even a little, all categories are equally likely."""
CUT_DIFFERENCE = 27.0
"""Mean absolute difference of hue, saturation and value (0 to 255) that is a cut: the threshold of
PySceneDetect's content detector."""
CUT_PX = 64
STILL_PX = 0.05
FAST_PX = 3.0
"""Speeds at which activity is 0 and 1. Noise of a still camera is at about 0.03."""


class SemanticExtractor(Extractor):
    """Turns video frames into the controls of a model that was trained on sounds."""

    frame_height_px = INPUT_PX
    frame_width_px = INPUT_PX

    def __init__(self, config: ExtractorConfig, category: str | None = None) -> None:
        """Raise InputError for a model of another definition of controls.

        With a `category` of the model the images are not classified.
        """
        if config.controls_version != CONTROLS_VERSION:
            raise InputError(
                f"the model was trained on controls of version {config.controls_version}, this "
                f"version of v2s_jax makes version {CONTROLS_VERSION}: train it again"
            )
        if config.categories is None or config.control_quantiles is None:
            raise InputError("the model's config lacks its categories: train it again")
        self.categories = config.categories
        self._config = config
        self._chosen: np.ndarray | None = None
        if category is not None:
            self._chosen = np.array([name == category for name in self.categories], np.float64)

    def start_compiling(self) -> None:
        """Compile the classifier, unless the category is chosen."""
        if self._chosen is None:
            start_compiling()

    def open_summary(self) -> SeenInVideo | None:
        """Return where what is seen in a video is added up; None with a chosen category."""
        return SeenInVideo(self.categories) if self._chosen is None else None

    def stream(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[FrameFeatures]:
        """Yield the controls of each video frame; holds two video frames at a time."""
        return self.stream_seen(frames, self.open_summary())

    def stream_appearance(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float16[np.ndarray, " appearance_dim"]]:
        """Yield only the distribution over the categories of each video frame."""
        return (features.appearance for features in self.stream(frames))

    def stream_seen(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]], seen: SeenInVideo | None
    ) -> Iterator[FrameFeatures]:
        """Yield the controls of each video frame, and add to `seen` what is in it."""
        shot, flow, cuts = _Shot(self.categories), open_flow("dis"), _CutDetector()
        players: dict[int, ExcerptPlayer] = {}
        motion, previous = MotionTracker(), None
        for number, frame in enumerate(frames):
            if cuts.is_cut(frame):
                shot, previous = _Shot(self.categories), None
                motion = MotionTracker()
            if seen is not None and (number % CLASSIFIED_EVERY == 0 or not shot.frames):
                probabilities = class_probabilities(frame)
                seen.add(probabilities)
                shot.add(masses(probabilities[None], self.categories)[0])
            gray = cv2.resize(luminance(frame), (FLOW_PX, FLOW_PX), interpolation=cv2.INTER_AREA)
            category = shot.distribution() if self._chosen is None else self._chosen
            if (likeliest := int(category.argmax())) not in players:
                players[likeliest] = ExcerptPlayer(self._config, likeliest)
            moved = None if previous is None else motion.update(_activity(flow, previous, gray))
            curves = players[likeliest].next(moved)
            yield FrameFeatures(category.astype(np.float16), curves.astype(np.float16))
            previous = gray


class _Shot:
    """Mean masses of the categories since the last cut."""

    def __init__(self, categories: tuple[str, ...]) -> None:
        self.frames = 0
        self._categories = categories
        self._mean: np.ndarray = np.zeros(len(categories))

    def add(self, mass: Float32[np.ndarray, " categories"]) -> None:
        self.frames += 1
        self._mean = self._mean + (mass - self._mean) / self.frames

    def distribution(self) -> Float[np.ndarray, " categories"]:
        found = evidence(np.maximum(self._mean, MIN_MASS), self._categories)
        sharp = (found / found.max()) ** SHARPNESS
        return sharp / sharp.sum()


class _CutDetector:
    """Compares each video frame with the one before."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None

    def is_cut(self, frame: UInt8[np.ndarray, "height width 3"]) -> bool:
        small = cv2.resize(frame, (CUT_PX, CUT_PX), interpolation=cv2.INTER_AREA)
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
        previous, self._previous = self._previous, hsv
        return previous is not None and float(np.abs(hsv - previous).mean()) > CUT_DIFFERENCE


def _activity(flow: FlowFn, previous: np.ndarray, gray: np.ndarray) -> float:
    moved = flow(previous, gray).reshape(-1, 2)
    camera = np.median(moved, axis=0, keepdims=True)
    speed = np.clip(np.linalg.norm(moved - camera, axis=1).mean(), STILL_PX, FAST_PX)
    return float(np.log(speed / STILL_PX) / np.log(FAST_PX / STILL_PX))

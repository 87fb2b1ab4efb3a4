"""The whole model, one clip, sample by sample (Mehri et al. 2017, equations 4 to 8)."""

from dataclasses import dataclass

import numpy as np

from tests.oracle.cells import Stack, effective, linear


@dataclass(frozen=True)
class Sizes:
    """What the oracle cannot see from the shapes of the parameters."""

    variant: str
    tiers: int
    cell: str
    layers: int
    big_frame: int
    frame: int
    dim: int
    q_levels: int
    original_mlp: bool
    samples_per_video_frame: int
    appearance: int
    lookahead: int
    context_vectors: int
    learn_h0: bool
    standardize_appearance: bool
    standardize_motion: bool
    components: bool
    projects: bool


def relu(x: np.ndarray) -> np.ndarray:
    """Return max(x, 0)."""
    return np.maximum(x, 0)


class Oracle:
    """A clip in progress: call `next_logits`, `append` the chosen level, and repeat."""

    def __init__(self, params: dict, sizes: Sizes, features: np.ndarray) -> None:
        self.s = sizes
        self.p = params["params"]
        self.tiers = self.p["sample_rnn"]
        self.levels = [sizes.q_levels // 2] * sizes.big_frame
        self.visual = [self.project(np.asarray(x, np.float64)) for x in features]
        if sizes.variant == "aligned":
            frames = [self.context(frame) for frame in range(len(features))]
            self.visual = [part for frame in frames for part in self.parts(frame)]
        self.big = self.stack(self.tiers["big_frame_tier"])
        if sizes.variant in ("seq", "flow"):
            encoder = self.stack(self.p["encoder"])
            for vector in self.visual:
                encoder.tick(vector)
            self.big.state = encoder.state
        elif sizes.learn_h0:
            self.big.state = np.asarray(self.tiers["big_frame_h0"], np.float64)
        if sizes.tiers == 3:
            self.middle = self.stack(self.tiers["frame_tier"])
            if sizes.learn_h0:
                self.middle.state = np.asarray(self.tiers["frame_h0"], np.float64)

    def stack(self, params: dict) -> Stack:
        """Return recurrent layers with state zero."""
        return Stack(params, self.s.cell, self.s.layers, self.s.dim)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Scale and project one video frame's features."""
        conditioning = self.p.get("conditioning", {})
        appearance, motion = features[: self.s.appearance], features[self.s.appearance :]
        if self.s.variant == "unconditional":
            return np.zeros(0)
        if self.s.standardize_appearance:
            appearance = self.standardize("appearance", appearance)
        if self.s.standardize_motion and self.s.variant in ("flow", "aligned"):
            motion = self.standardize("motion", motion)
        joined = np.concatenate([appearance, motion])
        return relu(linear(conditioning["projection"], joined)) if self.s.projects else joined

    def standardize(self, name: str, feature: np.ndarray) -> np.ndarray:
        """Apply the training set's statistics to one feature."""
        statistics = self.p["conditioning"]
        centred = feature - statistics[f"{name}_mean"]
        if self.s.components:
            return centred @ np.asarray(statistics[f"{name}_components"], np.float64)
        return centred / float(statistics[f"{name}_scale"])

    def context(self, frame: int) -> np.ndarray:
        """Return the context vector of a video frame: the last layer's value, by recursion."""
        context = self.p["context"]
        layers = sum(name.startswith("layer_") for name in context)
        future, remaining = [0] * layers, self.s.lookahead
        for layer in reversed(range(layers)):  # half of what remains, rounded up
            future[layer] = -(-remaining // 2)
            remaining -= future[layer]

        def value(layer: int, at: int) -> np.ndarray:
            if layer < 0:
                return linear(context["input"], self.visual[min(max(at, 0), len(self.visual) - 1)])
            now, ahead = value(layer - 1, at), future[layer]
            taps = [value(layer - 1, at - 2**layer), now]
            taps += [value(layer - 1, at + ahead)] if ahead else []
            return now + relu(linear(context[f"layer_{layer}"], np.concatenate(taps)))

        return value(layers - 1, frame)

    def parts(self, vector: np.ndarray) -> list[np.ndarray]:
        """Return the context vectors of the parts of a video frame."""
        if self.s.context_vectors == 1:
            return [vector]
        output = relu(linear(self.p["context"]["output"], vector))
        return [vector + part for part in np.split(output, self.s.context_vectors)]

    def amplitudes(self, count: int) -> np.ndarray:
        """Return the last `count` levels in the recurrent tiers' range [-2, 2)."""
        half = self.s.q_levels // 2
        return 2 * (np.array(self.levels[-count:], np.float64) - half) / (self.s.q_levels / 2)

    def next_logits(self) -> np.ndarray:
        """Return the logits of the next sample."""
        s = self.s
        t = len(self.levels) - s.big_frame
        if t % s.big_frame == 0:
            x = self.amplitudes(s.big_frame)
            if s.variant in ("frame", "aligned"):
                x = np.concatenate(
                    [x, self.visual[t // (s.samples_per_video_frame // s.context_vectors)]]
                )
            h = self.big.tick(x)
            below = s.big_frame // s.frame if s.tiers == 3 else s.big_frame
            self.from_big = np.split(linear(self.tiers["big_frame_tier"]["upsampling"], h), below)
        if s.tiers == 2:
            conditioning = self.from_big[t % s.big_frame]
        else:
            if t % s.frame == 0:
                tier = self.tiers["frame_tier"]
                above = self.from_big[t % s.big_frame // s.frame]
                h = self.middle.tick(linear(tier["expand"], self.amplitudes(s.frame)) + above)
                self.from_middle = np.split(linear(tier["upsampling"], h), s.frame)
            conditioning = self.from_middle[t % s.frame]
        mlp = self.tiers["sample_tier"]
        embedded = np.asarray(mlp["embedding"], np.float64)[self.levels[-s.frame :]].reshape(-1)
        x = embedded @ effective(mlp, "expand_kernel") + conditioning
        if not s.original_mlp:
            return linear(mlp["output"], relu(linear(mlp["hidden"], relu(x))))
        hidden = relu(linear(mlp["hidden"], x))
        return linear(mlp["output"], relu(linear(mlp["hidden_2"], hidden)))

    def append(self, level: int) -> None:
        """Set the level of the next sample."""
        self.levels.append(int(level))


def teacher_forced(
    params: dict, sizes: Sizes, features: np.ndarray, levels: np.ndarray
) -> np.ndarray:
    """Return the logits [samples q_levels] of a clip with given levels."""
    oracle = Oracle(params, sizes, features)
    logits = []
    for level in levels:
        logits.append(oracle.next_logits())
        oracle.append(level)
    return np.array(logits)


def mean_nll(logits: np.ndarray, levels: np.ndarray) -> float:
    """Return the mean negative log-likelihood in nats."""
    top = logits.max(axis=1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return float(np.mean(log_total - logits[np.arange(len(levels)), levels]))


def sample(
    params: dict, sizes: Sizes, features: np.ndarray, uniforms: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw levels by the inverse of the cumulative distribution at given uniform numbers.

    Returns the levels, and the distance of each number from the nearest border between two levels.
    """
    oracle = Oracle(params, sizes, features)
    gaps = []
    for uniform in uniforms:
        logits = oracle.next_logits()
        weights = np.exp(logits - logits.max())
        borders = np.cumsum(weights) / weights.sum()
        oracle.append(int(np.sum(borders <= uniform)))
        gaps.append(np.abs(borders - uniform).min())
    return np.array(oracle.levels[sizes.big_frame :]), np.array(gaps)

"""Generated audio of the evaluated clips: made once for each model and kept as WAV files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from v2s_jax.config import Config
from v2s_jax.datasets import ClipRecord, select_model_features
from v2s_jax.errors import InputError
from v2s_jax.evaluation.clips import Selection
from v2s_jax.evaluation.models import Model
from v2s_jax.evaluation.score_cache import ScoreCache
from v2s_jax.evaluation.statistics import Waveform
from v2s_jax.figures import waveform_image
from v2s_jax.kernels.interface import EngineOption, WeightOption
from v2s_jax.media import GENERATED_TAGS, read_audio_file, write_wav
from v2s_jax.quantize import dequantize
from v2s_jax.sampling import (
    DEFAULT_BATCH_SIZE,
    EngineChoice,
    Request,
    Sampler,
    choose_engine,
    clip_key,
    content_hash,
    generate,
)
from v2s_jax.sampling.progress import progress_bar
from v2s_jax.training.metrics import AudioSample


def generate_audio(
    sampler: Sampler,
    records: Sequence[ClipRecord],
    seed: int,
    temperature: float = 1.0,
    on_samples: Callable[[int], None] = lambda samples: None,
) -> list[Waveform]:
    """Generate audio as long as the reference for each clip.

    Args:
        sampler: Sampler with the parameters of a model.
        records: Clips; each waveform depends on the clip's features and the seed only.
        seed: Seed of the noise.
        temperature: Below 1, likely levels are preferred.
        on_samples: Called after each block of video frames with its number of samples.
    """
    model = sampler.config.model
    requests = [
        Request(
            clip_key(seed, content_hash(record.appearance.tobytes())),
            record.waveform.size,
            select_model_features(record, model),
        )
        for record in records
    ]
    return [
        dequantize(levels, model.q_levels, model.quantization)
        for levels in generate(sampler, requests, temperature, on_samples)
    ]


def choose_engines(
    model: Model,
    clips: Selection,
    engine: EngineOption,
    weights: WeightOption,
    batch_size: int | None,
) -> list[EngineChoice]:
    """Choose the engine of each checkpoint that serves any of the clips.

    Neither a build nor the number of clips may change the audio of a run that is resumed.
    """
    choices = []
    for shard in model.shards(clips.categories):
        choice = choose_engine(
            *(shard.config, shard.params),
            engine=engine,
            weights=weights,
            batch_size=batch_size,
            clips=len(shard.members),
            wait=True,
        )
        if batch_size is None and choice.engine != "cpu":
            choice = choice._replace(batch_size=DEFAULT_BATCH_SIZE)
        choices.append(choice)
    return choices


def load_or_generate(
    model: Model,
    clips: Selection,
    folder: Path,
    cache: ScoreCache,
    seed: int,
    temperature: float,
    choices: Sequence[EngineChoice],
) -> list[Waveform]:
    """Return the audio of each clip, read from FOLDER/CLIP.wav; missing files are generated.

    `cache` lists the complete files and what they depend on; `choices` are those of
    `choose_engines`. All audio is read back from the files,
    so a resumed run gives the same numbers. Raises InputError for a corrupt file.
    """
    rate_hz = model.config.clock.sample_rate_hz
    paths = [folder / f"{clip_id}.wav" for clip_id in clips.clip_ids]
    for shard, choice in zip(model.shards(clips.categories), choices, strict=True):
        left = [
            clip
            for clip in shard.members
            if not (clips.clip_ids[clip] in cache and paths[clip].is_file())
        ]
        if not left:
            continue
        sampler = Sampler(
            *(shard.config, shard.params),
            batch_size=choice.batch_size,
            engine=choice.engine,
            weights=choice.weights,
        )
        with progress_bar(sampler, sum(clips.samples[clip] for clip in left)) as on_samples:
            for first in range(0, len(left), sampler.batch_size):
                members = left[first : first + sampler.batch_size]
                records = [clips[clip] for clip in members]
                audio = generate_audio(sampler, records, seed, temperature, on_samples)
                for clip, waveform in zip(members, audio, strict=True):
                    write_wav(paths[clip], waveform, rate_hz, GENERATED_TAGS)
                    cache.add(clips.clip_ids[clip], [])
    bar = tqdm(paths, desc=f"reading {model.name}", unit="clip", dynamic_ncols=True)
    audio = []
    for path, samples in zip(bar, clips.samples, strict=True):
        fix = f"remove {cache.path} to generate the audio again"
        try:
            waveform = read_audio_file(path, rate_hz)
        except InputError as error:
            raise InputError(f"{path}: corrupt: {fix}") from error
        if len(waveform) != samples:
            raise InputError(f"{path}: {len(waveform)} samples instead of {samples}: {fix}")
        audio.append(waveform)
    return audio


class AudioLogger:
    """Generates audio of a few clips during training, cut to `log_audio_sec`, with one seed."""

    def __init__(self, config: Config, records: Sequence[ClipRecord]) -> None:
        self._config = config
        samples = config.clock.samples(config.training.log_audio_sec)
        self._records = [_cut(record, samples, config) for record in records]
        self._sampler: Sampler | None = None

    def __call__(self, params: dict[str, Any]) -> list[AudioSample]:
        """Return the audio that parameters on the host generate."""
        if self._sampler is None:
            self._sampler = Sampler(self._config, params, batch_size=len(self._records))
        self._sampler.set_params(params)
        rate_hz = self._config.clock.sample_rate_hz
        waveforms = generate_audio(self._sampler, self._records, self._config.training.seed)
        return [
            AudioSample(
                record.clip_id, waveform, rate_hz, waveform_image(waveform, rate_hz, record.clip_id)
            )
            for record, waveform in zip(self._records, waveforms, strict=True)
        ]


def _cut(record: ClipRecord, samples: int, config: Config) -> ClipRecord:
    """Return the beginning of a clip, audio and features."""
    waveform = record.waveform[:samples]
    video_frames = config.clock.video_frames(waveform.size)
    return record._replace(
        waveform=waveform,
        appearance=record.appearance[:video_frames],
        motion=record.motion[:video_frames],
    )

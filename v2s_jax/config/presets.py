"""The named configs."""

from v2s_jax.config.config import Config
from v2s_jax.config.model import ModelConfig
from v2s_jax.config.training import TrainingConfig

PAPER = Config(name="paper", extractor="vgg19")
"""SampleRNN's published three-tier sizes with the paper's Frame conditioning on VGG19 features."""

DEMO = Config(
    name="demo",
    model=ModelConfig(
        big_frame_size=64,
        frame_size=8,
        dim=256,
        mlp_dim=256,
        embedding_dim=32,
        visual_proj_dim=64,
        standardize_appearance=True,
        standardize_motion=True,
        principal_components=64,
    ),
    training=TrainingConfig(
        batch_clips=16,
        chunk_samples=1_024,
        encoder_bptt_chunks=0,
        steps_per_call=8,
        steps=30_000,
        decay_steps=15_000,
        learning_rate=1e-3,
        warmup_steps=100,
        eval_every_steps=3_000,
        eval_clips=60,
        precision="bfloat16",
    ),
)
"""Sizes of the pretrained models: faster than real time on two CPU cores."""

TINY = Config(
    name="tiny",
    model=ModelConfig(
        big_frame_size=16,
        frame_size=4,
        dim=32,
        mlp_dim=32,
        embedding_dim=16,
        visual_proj_dim=8,
        standardize_appearance=True,
        standardize_motion=True,
        principal_components=8,
        lookahead=2,
        context_layers=2,
        context_dim=8,
    ),
    training=TrainingConfig(
        batch_clips=4,
        chunk_samples=1_024,
        encoder_bptt_chunks=0,
        steps_per_call=4,
        steps=40,
        log_every_steps=4,
        checkpoint_every_steps=20,
        eval_every_steps=20,
        eval_clips=8,
        log_audio_clips=1,
        log_audio_sec=1.0,
    ),
)
"""Sizes for tests."""

PRESETS: dict[str, Config] = {preset.name: preset for preset in (PAPER, DEMO, TINY)}

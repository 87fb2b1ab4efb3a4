"""Evaluation: likelihood of reference audio, and how well generated audio fits its video.

One file for each family of metrics. `evaluate_*` functions take models and clips and return typed
rows with controls, baselines, chance levels and bootstrap intervals; `report/` writes them as
tables, plots, report.json and report.html. librosa, mir_eval, scikit-learn and jinja2 (extra
`eval`) are imported on use, so that training can log audio without them.
"""

from v2s_jax.evaluation.generation import AudioLogger, generate_audio
from v2s_jax.evaluation.scorer import Score, Scorer, ScorerInput

__all__ = ["AudioLogger", "Score", "Scorer", "ScorerInput", "generate_audio"]

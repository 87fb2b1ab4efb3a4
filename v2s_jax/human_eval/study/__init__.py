"""A study with people, as the paper's Table 3: pages that they answer, and what answers say.

`making` writes a folder with two pages and their key, `answers` reads what people downloaded from
them, `scoring` counts.
"""

from v2s_jax.human_eval.study.answers import read_answers
from v2s_jax.human_eval.study.key import CHOICE, KEY_FILE, REAL_OR_FAKE, Key, read_key
from v2s_jax.human_eval.study.making import make_study
from v2s_jax.human_eval.study.scoring import report, table

__all__ = [
    "CHOICE",
    "KEY_FILE",
    "REAL_OR_FAKE",
    "Key",
    "make_study",
    "read_answers",
    "read_key",
    "report",
    "table",
]

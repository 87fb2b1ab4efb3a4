"""Build and score a listening study: which model sounds best, and what is taken for real.

    v2s study make --sounds frame=out/frame --sounds flow=out/flow --videos VEGAS --out study

builds two pages from the output of `v2s sample`. study/choice.html asks the paper's four questions
(its Table 3). study/real-or-fake.html asks whether the audio is real; its controls are the videos'
original audio, and that of other videos. People open the pages, answer, and send the CSV file that
the page downloads. Keep study/key.json: it says which model is which.

    v2s study score study --answers choice-Ann.csv --answers choice-Bob.csv

counts how often each model was chosen, with intervals over clips, and how well raters agree.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from v2s_jax.cli.arguments import parse_subcommand
from v2s_jax.errors import InputError
from v2s_jax.human_eval.study.answers import format_report, read_answers, read_key, score_study
from v2s_jax.human_eval.study.build_pages import make_study
from v2s_jax.io import atomic_write

SCORES_FILE = "scores.json"


@dataclass(frozen=True)
class MakeArgs:
    """Write the pages of a study, and its key."""

    sounds: tuple[str, ...]
    """NAME=FOLDER for each model: its name, and the --out of `v2s sample`."""
    videos: Path
    """Folder of the original videos, CLASS/FILE; their own audio is the control."""
    out: Path
    """Folder for the pages and the key."""
    clips: int | None = None
    """Number of clips, drawn at random. Default: all."""
    seed: int = 0
    """Draws clips, controls and names."""

    def run(self) -> None:
        """Write the study and print the paths of its pages."""
        if self.clips is not None and self.clips < 1:
            raise InputError(f"--clips {self.clips}: use at least 1")
        folders: dict[str, Path] = {}
        for value in self.sounds:
            name, equals, folder = value.partition("=")
            if not (name and equals and folder) or name in folders:
                raise InputError(f"--sounds {value}: use NAME=FOLDER, each name once")
            folders[name] = Path(folder)
        for page in make_study(folders, self.videos, self.out, self.clips, self.seed):
            print(page)


@dataclass(frozen=True)
class ScoreArgs:
    """Score the answers of a study."""

    study: tyro.conf.Positional[Path]
    """The folder that `make` wrote."""
    answers: tuple[Path, ...]
    """CSV files that pages downloaded, one for each rater and page."""
    seed: int = 0
    """Draws the resamples of the intervals."""

    def run(self) -> None:
        """Print the rates, and write all of them to scores.json in the study's folder."""
        key = read_key(self.study)
        answers, incomplete = read_answers(key, self.answers)
        for line in incomplete:
            print(f"warning: {line}")
        report = score_study(key, answers, self.seed)
        path = self.study / SCORES_FILE
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(asdict(report), indent=2) + "\n")
        print(format_report(report))
        print(path)


def main() -> None:
    """Run the subcommand that the command line names."""
    parse_subcommand({"make": MakeArgs, "score": ScoreArgs}, "v2s study", __doc__).run()

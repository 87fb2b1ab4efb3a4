"""A study with people: which model sounds best, and what is taken for real.

    python evaluate.py study make --sounds frame=out/frame --sounds flow=out/flow \\
        --videos VEGAS --out study

makes two pages of what sample.py left in those folders: study/choice.html asks the paper's four
questions (its Table 3), study/real-or-fake.html whether a sound is real, with the videos' own
sounds, and those of other videos, as controls. People open them, answer, and send the CSV that
the page gives them. study/key.json stays with you: it knows whose sounds are whose.

    python evaluate.py study score study --answers choice-Ann.csv --answers choice-Bob.csv

counts: how often each model was chosen, with intervals over clips, and how far people agree.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from v2s_jax.errors import InputError
from v2s_jax.human_eval.study import make_study, read_answers, read_key, report, table
from v2s_jax.io import atomic_write

app = tyro.extras.SubcommandApp()
SCORES_FILE = "scores.json"


@app.command(name="make")
@dataclass(frozen=True)
class MakeArgs:
    """Write the pages of a study, and its key."""

    sounds: tyro.conf.UseAppendAction[tuple[str, ...]]
    """NAME=FOLDER for each model: its name, and the --out of `sample` with its sounds."""
    videos: Path
    """Folder of the videos that were sounded, CLASS/FILE; their own sounds are the controls."""
    out: Path
    """Folder for the pages and the key."""
    clips: int | None = None
    """How many of the clips, drawn at random; all unless given."""
    seed: int = 0
    """Draws clips, controls and names."""

    def run(self) -> None:
        """Make everything and say where it is."""
        if self.clips is not None and self.clips < 1:
            raise InputError(f"--clips {self.clips}: use at least 1")
        folders: dict[str, Path] = {}
        for word in self.sounds:
            name, equals, folder = word.partition("=")
            if not (name and equals and folder) or name in folders:
                raise InputError(f"--sounds {word}: use NAME=FOLDER, each name once")
            folders[name] = Path(folder)
        for page in make_study(folders, self.videos, self.out, self.clips, self.seed):
            print(page)


@app.command(name="score")
@dataclass(frozen=True)
class ScoreArgs:
    """Count the answers of a study."""

    study: tyro.conf.Positional[Path]
    """The folder that `make` wrote."""
    answers: tyro.conf.UseAppendAction[tuple[Path, ...]]
    """A CSV file that a page gave out; one for each person and page."""
    seed: int = 0
    """Draws the resamples of the intervals."""

    def run(self) -> None:
        """Print the rates, and write all of them to scores.json beside the key."""
        key = read_key(self.study)
        answers, left_out = read_answers(key, self.answers)
        for line in left_out:
            print(f"warning: {line}")
        found = report(key, answers, self.seed)
        path = self.study / SCORES_FILE
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n")
        print(table(found))
        print(path)


def main() -> None:
    """Run the subcommand that the command line names."""
    args: MakeArgs | ScoreArgs = app.cli(prog="v2s study", description=__doc__)
    args.run()

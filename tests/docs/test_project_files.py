"""What stands beside the program says what the program is."""

import tomllib
from pathlib import Path

import yaml

import v2s_jax

ROOT = Path(__file__).parents[2]


def test_the_version_is_one():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == v2s_jax.__version__
    assert f"\n## {v2s_jax.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_paper_is_cited_alike():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    readme = (ROOT / "README.md").read_text()
    assert f"title     = {{{paper['title']}}}" in readme
    assert f"year      = {{{paper['year']}}}" in readme
    names = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    assert f"author    = {{{' and '.join(names)}}}" in readme


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"} and (ROOT / ".ci" / "run").exists()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    tested = job["strategy"]["matrix"]["python"]
    assert tested[0] == oldest
    kind = "Programming Language :: Python :: "
    promised = [line.removeprefix(kind) for line in project["classifiers"] if kind in line]
    assert promised == tested


def test_licence():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004")

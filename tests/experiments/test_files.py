"""The experiment files that come with the package: every run in them could begin."""

from pathlib import Path

import pytest

from rpp_rl.experiments.checking import mistakes_of
from rpp_rl.experiments.plan import read_plan

FILES = sorted((Path(__file__).parents[2] / "configs" / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_run_could_begin(path):
    assert mistakes_of(read_plan(path), here=False)[0] == []


def test_the_paper_in_full_is_the_papers_size():
    (path,) = (path for path in FILES if path.stem == "paper-figures")
    plan = read_plan(path)
    settings = [job.settings for job in plan.jobs]
    assert len({s.env for s in settings}) == 6
    assert {(s.n_timesteps, s.eval_freq, s.eval_episodes) for s in settings} == {(1_000_000, 10_000, 10)}
    assert {job.seed for job in plan.jobs} == {0, 1, 2, 3}
    assert len(plan.jobs) == 4 * (6 + 6 + 5 + 3)

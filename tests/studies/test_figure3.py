"""The sweep of the prior and the ensembles' equivariance error, in small and on made rows."""

import pytest

from rpp_rl.cli.run_study import main
from rpp_rl.studies import posterior, prior
from rpp_rl.studies.study import Row, StudySettings, read_rows


def grid(value):
    """Rows of a sweep whose errors are a function of both penalties."""
    return [
        Row(job.case, job.model, 0, 500, "test", value(float(job.case), float(job.model.split()[1])))
        for job in prior.jobs(StudySettings())
        if job.model.startswith("rpp")
    ]


def test_claims_about_the_sweep_hold_for_the_paper_s_numbers_and_not_for_others():
    of_paper = prior.claims(grid(lambda equiv, residual: prior.PAPER[residual, equiv]))
    assert [claim.holds for claim in of_paper] == [False, True, True]
    assert "0.27 to 0.92" in of_paper[0].found, "3.4 times: less insensitive than the text says"
    sensitive = prior.claims(grid(lambda equiv, residual: residual))
    assert [claim.holds for claim in sensitive] == [False, False, False]
    assert [claim.holds for claim in prior.claims([])] == [None]


def test_sweep_draws_and_tabulates_what_there_is():
    rows = [row for row in grid(lambda equiv, residual: equiv + residual) if row.case == "1e-05"]
    assert prior.table(rows)[1][1:3] == ["0.1 [1.19]", "not run [1.08]"]
    prior.figure(rows).canvas.draw()


@pytest.mark.parametrize(("gap", "holds"), [(0.05, True), (0.0, False)])
def test_separation_is_judged_by_ranks(gap, holds):
    rows = [
        Row(case, "rpp", trial, 30, "error", 0.05 + 0.001 * trial + (gap if case == "approximate" else 0.0))
        for case in posterior.CASES
        for trial in range(10)
    ]
    (claim,) = posterior.claims(rows)
    assert claim.holds is holds


def test_posterior_in_small(tmp_path, capsys):
    argv = ["posterior", "--trials", "3", "--epochs", "5", "--width", "12", "--no-progress", "-o", str(tmp_path)]
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert "the modified task's ensemble breaks the symmetry more by epoch 5" in text
    rows = read_rows(tmp_path / "results.csv")
    assert {row.metric for row in rows} == {"error", "code_error", "test"}
    assert all(0 < row.value < 1 for row in rows if row.metric != "test")

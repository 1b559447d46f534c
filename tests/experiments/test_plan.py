"""Experiment files: what they mean, and that all mistakes in them come at once."""

from pathlib import Path

import pytest
import yaml

from rpp_rl.experiments.plan import EarlyEnd, read_plan
from rpp_rl.io.border import UserError
from tests.kit.experiments import write_plan


def test_every_combination_is_a_job_and_every_arm_gets_a_seed_before_the_next(tmp_path):
    plan = read_plan(write_plan(tmp_path / "grid.yaml"))
    assert (plan.name, plan.kind, plan.end_early, len(plan.jobs)) == ("grid", "sac", None, 12)
    assert [job.seed for job in plan.jobs] == 4 * [0] + 4 * [1] + 4 * [2]
    assert len({job.folder for job in plan.jobs}) == 12
    assert plan.jobs[1].folder == Path("wide/Hopper-v5/seed_0")


def test_the_nearer_setting_holds(tmp_path):
    path = write_plan(
        tmp_path / "x.yaml",
        seeds=[7],
        settings={"tau": 0.1, "gamma": 0.9, "batch_size": 1, "n_critics": 1},
        environments={"Hopper-v5": {"gamma": 0.8, "batch_size": 2, "n_critics": 2}, "Ant-v5": {}},
        variants={
            "a": {"batch_size": 3, "n_critics": 3, "environments": {"Hopper-v5": {"n_critics": 4}, "Ant-v5": None}}
        },
    )
    (job,) = read_plan(path).jobs
    settings = job.settings
    assert (settings.tau, settings.gamma, settings.batch_size, settings.n_critics) == (0.1, 0.8, 3, 4)
    assert (settings.env, settings.seed) == ("Hopper-v5", 7)


def test_files_of_settings_are_below_what_is_written_beside_them(tmp_path):
    (tmp_path / "base.yaml").write_text("tau: 0.1\ngamma: 0.1\nbatch_size: 1")
    (tmp_path / "own.yaml").write_text("default: {n_critics: 1}\nHopper-v5: {gamma: 0.3, n_critics: 3}")
    path = write_plan(
        tmp_path / "x.yaml",
        seeds=1,
        conf="base.yaml",
        settings={"gamma": 0.2, "batch_size": 2},
        environments=["Hopper-v5", "Ant-v5"],
        variants={"a": {"conf": "own.yaml", "batch_size": 3}},
    )
    hopper, ant = (job.settings for job in read_plan(path).jobs)
    assert (hopper.tau, hopper.gamma, hopper.batch_size, hopper.n_critics) == (0.1, 0.3, 3, 3)
    assert (ant.tau, ant.gamma, ant.batch_size, ant.n_critics) == (0.1, 0.2, 3, 1)


def test_models_are_experiments_too(tmp_path):
    path = write_plan(
        tmp_path / "x.yaml", kind="model", settings={"n_epochs": 3, "buffer": "x.npz"}, variants={"a": {}}
    )
    assert {job.settings.n_epochs for job in read_plan(path).jobs} == {3}


def test_a_rule_is_read(tmp_path):
    rule = {"at": 120_000, "below": 0.5, "of": "narrow"}
    assert read_plan(write_plan(tmp_path / "x.yaml", end_early=rule)).end_early == EarlyEnd(120_000, 0.5, "narrow", 2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"varients": {}}, "unknown key 'varients'; did you mean variants"),
        ({"kind": "ppo"}, "kind: expected sac or model, got 'ppo'"),
        ({"conf": "nowhere.yaml"}, "nowhere.yaml: No such file or directory"),
        ({"seeds": [1, 2, 1]}, "seeds: 1 given twice"),
        ({"seeds": 0}, "seeds: expected their number, at most 10000, or a list of them, got 0"),
        ({"seeds": 10**30}, "seeds: expected their number, at most 10000, or a list of them, got 1000"),
        ({"variants": "a" * 10_000}, "variants: expected settings by name, got 'aaa"),
        ({"seeds": [-1]}, "seeds: expected integers from 0"),
        ({"environments": ["Hopper-v5", "Hopper-v5"]}, "environments: Hopper-v5 given twice"),
        ({"environments": "Hopper-v5"}, "environments: expected a list of ids"),
        ({"settings": {"learning_rat": 1}}, "settings: unknown setting 'learning_rat'; did you mean learning_rate"),
        ({"settings": {"seed": 1}}, "settings: seed is decided by the experiment"),
        ({"variants": {"a": {"taw": 1}}}, "variants, a: unknown setting 'taw'"),
        ({"variants": {"a": {"tau": "fast"}}}, "a on Hopper-v5: tau: expected a number, got 'fast'"),
        ({"variants": {"a": {"environments": {"Ant-v9": {}}}}}, "variants, a: no environment 'Ant-v9' here"),
        ({"variants": {"a/b": {}, "a b": {}}}, "two of them would have the folder a-b"),
        ({"variants": {}}, "variants: expected settings by name"),
        ({"end_early": {"at": 5}}, "end_early: expected at and below"),
        ({"end_early": {"at": 5, "below": 1, "of": "x"}}, "end_early, of: no variant 'x'"),
    ],
)
def test_a_mistake_is_named(tmp_path, changes, reason):
    with pytest.raises(UserError, match=r"x\.yaml: ") as caught:
        read_plan(write_plan(tmp_path / "x.yaml", **changes))
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_all_mistakes_come_at_once(tmp_path):
    path = write_plan(
        tmp_path / "x.yaml",
        seeds=[1, 1],
        settings={"tauu": 1},
        variants={"a": {"mode": "soft"}, "b": {"batch_size": -1}},
        extra=1,
    )
    with pytest.raises(UserError) as caught:
        read_plan(path)
    for number, part in enumerate(["'extra'", "1 given twice", "'tauu'", "'soft'", "got -1"], 1):
        assert f"({number})" in str(caught.value)
        assert part in str(caught.value)


def test_a_key_that_is_given_twice_is_seen(tmp_path):
    """YAML itself would take the second one without a word."""
    path = write_plan(tmp_path / "x.yaml")
    path.write_text(path.read_text() + "\n")
    text = yaml.safe_dump({"variants": {"a": {}}}).replace("a: {}", "a: {tau: 0.1}\n  a: {tau: 0.2}")
    path.write_text("seeds: 1\nenvironments: [Ant-v5]\n" + text)
    with pytest.raises(UserError, match="given twice: a"):
        read_plan(path)


def test_a_large_file_is_refused_at_once(tmp_path):
    """Mistakes, names and runs that would take minutes and gigabytes if each were looked at with care."""
    names = [f"n{k}" for k in range(4000)]
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({"environments": names, "variants": dict.fromkeys(names), "seeds": names}))
    with pytest.raises(UserError, match="expected at most 10000 runs, got 16000000"):
        read_plan(path)
    with pytest.raises(UserError) as refusal:
        read_plan(write_plan(tmp_path / "y.yaml", settings=dict.fromkeys(names, 1)))
    mistakes = refusal.value.mistakes
    assert len(mistakes) == 4000
    assert "known are" in mistakes[0]
    assert mistakes[-1] == "settings: unknown setting 'n3999'"
    path.write_text("a: &a [&b {x: 1, x: 2}, *b, *b]\nc: [*a, *a]")
    with pytest.raises(UserError, match=r"given twice: x$"):
        read_plan(path)

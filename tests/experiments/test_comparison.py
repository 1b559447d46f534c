"""Which runs are joined, where they are compared, and the numbers that come out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.experiments.comparison import Question, compare, overall, summary
from rpp_rl.experiments.curves import EQUIVARIANCE, RETURN, Curve, Run
from rpp_rl.experiments.grouping import group_runs
from rpp_rl.experiments.reading import read_all
from rpp_rl.experiments.report import differences, overall_table, table, to_dict
from tests.kit.runs import STEPS, make_job, make_run, make_zoo_run


def arms_below(path):
    """The seeds of every arm of every environment."""
    grouped, _ = group_runs(read_all([path])[0])
    return {env: {label: [run.seed for run in runs] for label, runs in arms.items()} for env, arms in grouped.items()}


def test_two_environments_are_two_panels(tmp_path):
    make_run(tmp_path / "sac" / "a", env="Hopper-v5")
    make_run(tmp_path / "sac" / "b", env="Walker2d-v5")
    assert arms_below(tmp_path) == {"Hopper-v5": {"plain": [0]}, "Walker2d-v5": {"plain": [0]}}


def test_a_run_with_another_setting_is_another_arm(tmp_path):
    """Four runs of one algorithm, of which two have the same seed."""
    for seed in range(3):
        make_run(tmp_path / "rpp_sac" / f"h_{seed}", seed=seed, mode="rpp")
    make_run(tmp_path / "rpp_sac" / "h_3", seed=0, mode="rpp", tau=0.25)
    assert arms_below(tmp_path)["Hopper-v5"] == {
        "tau=0.005": [0, 1, 2],
        "tau=0.25": [0],
    }


def test_labels_are_as_short_as_they_can_be(tmp_path):
    make_run(tmp_path / "a", mode="mlp", learning_rate=1e-3)
    make_run(tmp_path / "b", mode="rpp", learning_rate=3e-4)
    make_run(tmp_path / "c", mode="rpp", learning_rate=3e-4, policy_only=True)
    arms = arms_below(tmp_path)["Hopper-v5"]
    assert list(arms) == ["plain", "rpp", "rpp, policy_only"]


def test_what_differs_besides_is_said(tmp_path):
    """The learning rate is not needed to tell the arms apart, and would be a trap."""
    make_run(tmp_path / "a", mode="mlp", learning_rate=1e-3)
    make_run(tmp_path / "b", mode="rpp", learning_rate=3e-4)
    comparison = compare(read_all([tmp_path])[0])
    assert differences(comparison.panels[0]) == [
        "plain: mode=mlp, learning_rate=0.001",
        "rpp: mode=rpp, learning_rate=0.0003",
    ]


def test_where_and_how_long_a_run_was_made_does_not_matter(tmp_path):
    make_run(tmp_path / "a", device="cpu", num_threads=1, log_folder="x", save_freq=5)
    make_run(tmp_path / "b", seed=1, device="cuda", num_threads=4, log_folder="y", total=200_000, n_evaluations=20)
    assert arms_below(tmp_path)["Hopper-v5"] == {"plain": [0, 1]}


def test_a_setting_that_an_older_run_did_not_know_has_its_default(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", seed=1, layer_norm=False, optimizer_betas=[0.9, 0.999], gamma=0.99)
    make_run(tmp_path / "c", seed=1, layer_norm=True)
    assert arms_below(tmp_path)["Hopper-v5"] == {"layer_norm=false": [0, 1], "layer_norm": [1]}


def test_a_setting_that_differs_between_environments_only_is_in_no_label(tmp_path):
    for env, tau in (("Hopper-v5", 0.005), ("Swimmer-v5", 0.004)):
        for mode in ("mlp", "rpp"):
            make_run(tmp_path / f"{env}{mode}", env=env, mode=mode, tau=tau)
    assert arms_below(tmp_path) == {env: {"plain": [0], "rpp": [0]} for env in ("Hopper-v5", "Swimmer-v5")}


def test_arms_of_experiments_have_their_names(tmp_path):
    make_job(tmp_path / "a", "weak prior", mode="rpp", actor_residual_var=10.0)
    make_job(tmp_path / "b", "strong prior", mode="rpp")
    make_job(tmp_path / "c", "strong prior", mode="rpp", seed=1)
    assert arms_below(tmp_path)["Hopper-v5"] == {"weak prior": [0], "strong prior": [0, 1]}


def test_arms_of_one_name_and_other_settings_stay_two(tmp_path):
    """Two experiments may call different things by one name."""
    make_job(tmp_path / "first", "rpp", mode="rpp", tau=0.01)
    make_job(tmp_path / "second", "rpp", mode="rpp", tau=0.02)
    assert set(arms_below(tmp_path)["Hopper-v5"]) == {"rpp, tau=0.01", "rpp, tau=0.02"}


def test_runs_of_the_zoo_stand_beside_ours(tmp_path):
    make_zoo_run(tmp_path / "zoo" / "a")
    make_run(tmp_path / "ours" / "b", mode="rpp")
    assert len(arms_below(tmp_path)["Hopper-v5"]) == 2


@given(st.lists(st.tuples(st.sampled_from(["mlp", "rpp"]), st.sampled_from([0.1, 0.2, None]), st.booleans())))
def test_runs_are_joined_exactly_if_their_settings_agree(settings):
    curves = {RETURN: Curve.of({10: 1.0})}
    runs = [
        Run("Ant-v4", seed, curves, {"mode": mode, "tau": tau, "policy_only": only})
        for seed, (mode, tau, only) in enumerate(settings)
    ]
    grouped, notes = group_runs(runs)
    assert not notes
    arms = grouped.get("Ant-v4", {})
    assert len(arms) == len(set(settings))
    for members in arms.values():
        assert len({settings[run.seed] for run in members}) == 1


def test_a_second_run_of_a_seed_is_left_out_and_named(tmp_path):
    make_run(tmp_path / "a", n_evaluations=5)
    make_run(tmp_path / "b", n_evaluations=10)
    grouped, (note,) = group_runs(read_all([tmp_path])[0])
    (kept,) = grouped["Hopper-v5"]["plain"]
    assert (kept.path.name, note.path.name) == ("b", "a")


def test_runs_are_compared_where_the_shortest_finished_one_ends(tmp_path):
    make_run(tmp_path / "a", mode="mlp", n_evaluations=10)
    make_run(tmp_path / "b", mode="rpp", n_evaluations=20, slope=2.0)
    make_run(tmp_path / "c", mode="rpp", n_evaluations=3, total=20 * STEPS, seed=1)
    comparison = compare(read_all([tmp_path])[0])
    (panel,) = comparison.panels
    assert panel.end == 10 * STEPS
    plain, rpp = summary(panel, comparison.question)
    assert (plain["n_runs"], rpp["n_runs"]) == (1, 1)
    assert (plain["final"].value, rpp["final"].value) == (10, 20)
    (note,) = comparison.notes
    assert note.path.name == "c"
    assert "it has made 30000 of 200000 steps" in note.reason


def test_runs_that_go_on_are_compared_where_the_shortest_is(tmp_path):
    make_run(tmp_path / "a", mode="mlp", n_evaluations=4, total=300_000)
    make_run(tmp_path / "b", mode="rpp", n_evaluations=7, total=300_000)
    assert compare(read_all([tmp_path])[0]).panels[0].end == 4 * STEPS
    assert compare(read_all([tmp_path])[0], Question(at=6 * STEPS)).panels[0].arms.keys() == {"rpp"}


def test_the_numbers_of_straight_lines(tmp_path):
    for seed, slope in enumerate((1.0, 2.0, 3.0)):
        make_run(tmp_path / f"p{seed}", mode="mlp", seed=seed, slope=slope)
        make_run(tmp_path / f"r{seed}", mode="rpp", seed=seed, slope=2 * slope)
    comparison = compare(read_all([tmp_path])[0], Question(area_from=2 * STEPS))
    plain, rpp = summary(comparison.panels[0], comparison.question)
    assert (plain["final"].value, rpp["final"].value) == (20, 40)
    assert (plain["area"].value, rpp["area"].value) == pytest.approx((12, 24))
    assert (plain["threshold"], plain["steps_to_threshold"].value, plain["steps_to_threshold"].high) == (
        20, 10 * STEPS, np.inf,
    )  # fmt: skip
    assert rpp["steps_to_threshold"].value == 5 * STEPS
    assert rpp["improvement"].value == pytest.approx((1.5 + 3 + 3) / 9)
    assert np.isnan(plain["improvement"].value)


def test_environments_are_put_together_in_units_of_the_baseline(tmp_path):
    for env, unit in (("Hopper-v5", 1.0), ("Walker2d-v5", 100.0)):
        for seed, slope in enumerate((1.0, 2.0, 3.0)):
            make_run(tmp_path / f"{env}p{seed}", env=env, mode="mlp", seed=seed, slope=unit * slope)
            make_run(tmp_path / f"{env}r{seed}", env=env, mode="rpp", seed=seed, slope=2 * unit * slope)
    make_run(tmp_path / "e", env="Hopper-v5", mode="emlp")
    plain, rpp = overall(compare(read_all([tmp_path])[0]))
    assert (plain["arm"], plain["n_envs"], plain["n_runs"]) == ("plain", 2, 6)
    assert (plain["score"].value, rpp["score"].value) == (1, 2)
    assert rpp["improvement"].value == pytest.approx(7.5 / 9)
    assert rpp["score"].low < 2 < rpp["score"].high


def test_a_baseline_that_is_not_positive_is_no_unit(tmp_path):
    for env, slope in (("Hopper-v5", 1.0), ("Walker2d-v5", -1.0)):
        make_run(tmp_path / f"{env}p", env=env, mode="mlp", slope=slope)
        make_run(tmp_path / f"{env}r", env=env, mode="rpp")
    assert overall(compare(read_all([tmp_path])[0])) == []


def test_the_threshold_and_the_baseline_can_be_given(tmp_path):
    make_run(tmp_path / "a", mode="mlp")
    make_run(tmp_path / "b", mode="rpp", slope=2.0)
    runs = read_all([tmp_path])[0]
    assert compare(runs, Question(baseline="rpp")).panels[0].threshold == 20
    assert compare(runs, Question(threshold=7.0)).panels[0].threshold == 7
    with pytest.raises(ValueError, match="no arm is called 'emlp'; there are 'plain', 'rpp'"):
        compare(runs, Question(baseline="emlp"))
    with pytest.raises(ValueError, match="two arms would be called 'x'"):
        compare(runs, Question(rename={"plain": "x", "rpp": "x"}))


def test_a_metric_that_some_runs_lack_is_no_curve(tmp_path):
    make_run(tmp_path / "a", scalars={f"{EQUIVARIANCE}/g": {1000: 0.1, 90_000: 0.3}})
    make_run(tmp_path / "b", seed=1)
    arm = compare(read_all([tmp_path])[0]).panels[0].arms["plain"]
    assert arm.curves(EQUIVARIANCE) is None
    assert arm.curves(RETURN)[1].shape == (2, 10)


def test_curves_with_other_steps_are_interpolated():
    runs = [Run("Ant-v4", 0, {RETURN: Curve.of({0: 0.0, 10: 10.0})})]
    runs += [Run("Ant-v4", 1, {RETURN: Curve.of({5: 5.0, 15: 15.0})})]
    steps, values = compare(runs).panels[0].arms["runs"].curves(RETURN)
    assert steps.tolist() == [5, 10]
    np.testing.assert_allclose(values, [[5, 10], [5, 10]])


def test_the_table_and_the_plain_values_agree(tmp_path):
    make_run(tmp_path / "a", mode="mlp")
    make_run(tmp_path / "b", mode="rpp", slope=0.5)
    comparison = compare(read_all([tmp_path])[0])
    head, plain, rpp = table(comparison, comparison.panels[0])
    assert head == ["arm", "seeds", "mean return", "area under curve", "steps to 10", "P(better than plain)"]
    assert plain == ["plain", "1", "10", "5.5", "100000", "–"]
    assert rpp == ["rpp", "1", "5", "2.75", "never", "0"]
    arms = to_dict(comparison)["environments"][0]["arms"]
    assert [arm["steps_to_threshold"]["value"] for arm in arms] == [100_000, "never"]
    assert [arm["final"]["value"] for arm in arms] == [10, 5]
    assert arms[0]["improvement"]["value"] is None


def test_an_arm_is_not_compared_before_its_first_evaluation(tmp_path):
    """Its first return would otherwise stand for what it never showed at that step."""
    make_run(tmp_path / "short", mode="mlp", n_evaluations=1)
    make_run(tmp_path / "rare", mode="rpp")
    rare = read_all([tmp_path / "rare"])[0][0]
    late = Run("Hopper-v5", 0, {RETURN: Curve.of({50_000: 9.0})}, rare.settings, path=rare.path)
    comparison = compare([*read_all([tmp_path / "short"])[0], late])
    assert comparison.panels[0].arms.keys() == {"plain"}
    assert "its first evaluation is at 50000 steps and others end at 10000" in comparison.notes[0].reason
    with pytest.raises(ValueError, match=r"no run to compare(.|\n)*its first evaluation is at 10000"):
        compare(read_all([tmp_path])[0], Question(at=10))


def test_a_metric_that_begins_after_the_comparison_is_unknown(tmp_path):
    make_run(tmp_path / "a", scalars={f"{EQUIVARIANCE}/g": {50_000: 0.1, 90_000: 0.3}})
    comparison = compare(read_all([tmp_path])[0], Question(at=20_000))
    (row,) = summary(comparison.panels[0], comparison.question)
    assert np.isnan(row["equivariance_error"].value)
    assert comparison.panels[0].arms["plain"].curves(EQUIVARIANCE) is None


def test_runs_that_have_no_step_in_common_have_no_curve_and_no_arrival():
    runs = [Run("Ant-v4", seed, {RETURN: Curve.of({at: 1.0, at + 10: 2.0})}) for seed, at in ((0, 10), (1, 40))]
    comparison = compare(runs, Question(at=60, threshold=1.0))
    (row,) = summary(comparison.panels[0], comparison.question)
    assert comparison.panels[0].arms["runs"].curves(RETURN) is None
    assert np.isnan([row[name].value for name in ("final", "area", "steps_to_threshold")]).all()


def test_the_plain_arm_is_the_baseline_whatever_follows_in_its_label(tmp_path):
    for mode in ("emlp", "mlp"):
        for tau in (0.01, 0.02):
            make_run(tmp_path / f"{mode}{tau}", mode=mode, tau=tau)
    panel = compare(read_all([tmp_path])[0]).panels[0]
    assert panel.baseline == "plain, tau=0.01"
    assert "emlp, tau=0.01" in panel.arms


def test_the_table_over_environments_names_the_arm_that_is_its_unit():
    """Where the first environment has another baseline and cannot be counted."""
    runs = [Run("A-v0", 0, {RETURN: Curve.of({1: -1.0})}, name="rpp")]
    runs += [
        Run(env, 0, {RETURN: Curve.of({1: 2.0})}, name=arm) for env in ("B-v0", "C-v0") for arm in ("plain", "rpp")
    ]
    assert overall_table(compare(runs))[0][3:] == ["mean return / plain's", "P(better than plain)"]

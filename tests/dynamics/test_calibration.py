"""Coverage of predicted intervals: by heads and by the disagreement of members, after one step and along rollouts."""

from statistics import NormalDist

import numpy as np
import pytest
import torch

from rpp_rl.dynamics import calibration
from rpp_rl.dynamics.calibration import COVERAGES, coverage, rollout_coverage
from tests.kit.toy_models import KnownModel, constant


class KnownGaussian(KnownModel):
    """Members of known standard deviations whose means are the state itself."""

    head = "gaussian"

    def __init__(self, stds, means=(0.0,)):
        super().__init__(lambda x, u: x, ensemble=len(stds))
        self.stds, self.means = stds, means

    def distribution(self, x, u):
        return tuple(
            torch.stack([function(v) for v in values])
            for function, values in (
                (lambda mean: x + mean, self.means),
                (lambda std: torch.full_like(x, std), self.stds),
            )
        )


@pytest.mark.parametrize(
    ("stds", "means", "calibrated"),
    [((0.1, 0.1), (0.0, 0.0), True), ((0.06, 0.06), (0.08, -0.08), True), ((0.05, 0.05), (0.0, 0.0), False)],
)
def test_coverage_of_known_noise(rng, stds, means, calibrated):
    """Noise of 0.1: predicted as such, as the disagreement of members, or by half of it."""
    states, actions = constant(50, 100, rng)
    states[:, 1:] += 0.1 * rng.normal(size=states[:, 1:].shape).cumsum(1)
    found = coverage(KnownGaussian(stds, means), states, actions)
    expected = {p: p if calibrated else 2 * NormalDist().cdf(NormalDist().inv_cdf((1 + p) / 2) / 2) - 1 for p in found}
    assert list(found) == [0.5, 0.8, 0.95]
    assert found == pytest.approx(expected, abs=0.01)


def walks(n, time, rng):
    """States that move by noise of 0.1 in every step."""
    states, actions = constant(n, time, rng)
    states[:, 1:] += 0.1 * rng.normal(size=states[:, 1:].shape).cumsum(1)
    return states, actions


class Walking(KnownModel):
    """Members with a Gaussian head that move by noise."""

    head = "gaussian"

    def __init__(self, std):
        super().__init__(lambda x, u: x, ensemble=2)
        self.std = std

    def distribution(self, x, u):
        mean = x.expand(2, *x.shape[-2:])
        return mean, torch.full_like(mean, self.std)


def disagreeing(std):
    """Five members that move by noise of their own."""
    return KnownModel(lambda x, u: x + std * torch.randn_like(x), ensemble=5)


@pytest.mark.parametrize(("std", "calibrated"), [(0.1, True), (0.05, False)])
def test_coverage_of_the_disagreement_of_members(rng, std, calibrated):
    torch.manual_seed(0)
    found = coverage(disagreeing(std), *walks(50, 100, rng))
    assert (found == pytest.approx({p: p for p in COVERAGES}, abs=0.015)) == calibrated


@pytest.mark.parametrize("make", [disagreeing, Walking])
@pytest.mark.parametrize(("std", "calibrated"), [(0.1, True), (0.05, False)])
def test_coverage_along_rollouts(rng, make, std, calibrated, monkeypatch):
    """Some trajectories at a time; where the noise is twice what is predicted, intervals hold less."""
    monkeypatch.setattr(calibration, "N_STEPS", 1300)
    torch.manual_seed(0)
    found = rollout_coverage(make(std), *walks(500, 12, rng))
    for p in COVERAGES:
        assert found[p].shape == (12,)
        assert (np.abs(found[p] - p).max() < 0.06) == calibrated
        assert calibrated or (found[p] < p).all()


def test_a_prediction_without_noise_is_right_or_wrong(rng):
    """Members that agree on the truth, and on something else."""
    states, actions = constant(5, 4, rng)
    for offset, expected in ((0.0, 1.0), (0.1, 0.0)):
        model = KnownModel(lambda x, u, offset=offset: x + offset, ensemble=3)
        assert set(coverage(model, states, actions).values()) == {expected}
        assert set(np.concatenate(list(rollout_coverage(model, states, actions).values()))) == {expected}


def test_one_model_without_a_head_for_it_predicts_no_intervals(rng):
    for measured in (coverage, rollout_coverage):
        with pytest.raises(ValueError, match="predicts no intervals"):
            measured(KnownModel(lambda x, u: x), *constant(2, 3, rng))

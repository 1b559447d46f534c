"""Ensembles: the members computed together are independent networks, each what it would be alone."""

import pytest
import torch

from rpp_rl.fast import shared_weights
from rpp_rl.nn import RPPEMLP, Prior, RPPLinear, hidden_rep, merge
from rpp_rl.symmetry import cyclic, dihedral, sign, special_orthogonal, trivial, vector

MEMBERS = 3
V = vector(dihedral(4))
W = vector(special_orthogonal(3))
Z = vector(cyclic(2))
CASES = {
    "regular": (3 * V + 2 * trivial(V.group), V, "regular", {}),
    "interleaved": (Z + sign(Z.group) + Z, sign(Z.group) + Z, "8*V", {}),
    "gated": (2 * W, W + trivial(W.group), "uniform", {"activation": "silu"}),
    "bilinear": (2 * W, W, "uniform", {"bilinear": True, "layer_norm": True}),
}


def networks(name, mode, shake):
    """An ensemble and its members as networks of their own, with the same parameters."""
    rep_in, rep_out, kind, options = CASES[name]
    hidden = [hidden_rep(rep_in.group, 16 if kind == "8*V" else 32, kind)] * 2
    ensemble = shake(RPPEMLP(rep_in, rep_out, hidden, mode=mode, ensemble=MEMBERS, **options))
    parameters = dict(ensemble.named_parameters())
    members = []
    for member in range(MEMBERS):
        alone = RPPEMLP(rep_in, rep_out, hidden, mode=mode, **options)
        state = {key: value[member] if key in parameters else value for key, value in ensemble.state_dict().items()}
        alone.load_state_dict(state)
        members.append(alone)
    return ensemble, members


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (5,), (2, 5)], ids=str)
def test_members_compute_what_they_would_alone(name, mode, batch, shake, tolerance):
    ensemble, members = networks(name, mode, shake)
    x = torch.randn(MEMBERS, *batch, ensemble.rep_in.size)
    together = ensemble(x)
    for y, x_member, member in zip(together, x, members, strict=True):
        torch.testing.assert_close(y, member(x_member), rtol=0, atol=tolerance * float(together.detach().abs().max()))
    assert (together[0] - together[1]).norm() > 1e-2 * together.norm(), "control: the members differ"


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_members(name, mode, shake, tolerance):
    ensemble, members = networks(name, mode, shake)
    x = torch.randn(7, ensemble.rep_in.size)
    ensemble(x.expand(MEMBERS, *x.shape)).square().sum().backward()
    for index, member in enumerate(members):
        member(x).square().sum().backward()
        for own, parameter in zip(ensemble.parameters(), member.parameters(), strict=True):
            scale = max(float(parameter.grad.abs().max()), 1.0) if parameter.numel() else 1.0
            torch.testing.assert_close(own.grad[index], parameter.grad, rtol=0, atol=10 * tolerance * scale)


@pytest.mark.parametrize("name", CASES)
def test_merged_and_shared_weights_compute_the_same(name, shake, tolerance):
    ensemble, _ = networks(name, "rpp", shake)
    x = torch.randn(MEMBERS, 5, ensemble.rep_in.size)
    expected, merged = ensemble(x), merge(ensemble)
    assert all(layer.mode == "mlp" for layer in merged.modules() if isinstance(layer, RPPLinear))
    with shared_weights(ensemble):
        shared = ensemble(x)
    for y in (merged(x), shared):
        torch.testing.assert_close(y, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max()))


def test_prior_counts_every_member(shake, tolerance):
    ensemble, members = networks("regular", "rpp", shake)
    prior = Prior(2.0, 0.5)
    torch.testing.assert_close(
        prior.energy(ensemble), sum(prior.energy(member) for member in members), rtol=10 * tolerance, atol=0
    )


@pytest.mark.parametrize("ensemble", [0, -1])
def test_an_ensemble_has_members(ensemble):
    with pytest.raises(ValueError, match="at least one member"):
        RPPLinear(V, V, ensemble=ensemble)

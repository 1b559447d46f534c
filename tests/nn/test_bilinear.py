"""The structured bilinear layer against W(x) x with a matrix for every sample."""

import pytest
import torch

from rpp_rl.nn import Bilinear
from rpp_rl.symmetry import direct_sum, parse_group, parse_rep, trivial, vector

GROUPS = ("Z2", "D4", "Z2xZ2", "S3", "SO2", "O2", "SO3", "O3")


def naive(layer: Bilinear, x: torch.Tensor) -> torch.Tensor:
    """x + c W(x) x for one sample, W(x) assembled entry by entry: s_j from pairs of parts, parts from scalars."""
    runs, scalars, at = [], [], 0
    for count, part in layer.rep_in.parts:
        places = [slice(at + k * part.size, at + (k + 1) * part.size) for k in range(count)]
        at += count * part.size
        if part == trivial(layer.rep_in.group):
            scalars += [place.start for place in places]
        else:
            runs.append((part.size, places))
    matrix = torch.zeros(at, at)
    pairs = [(k, i) for size, places in runs for k in places[:size] for i in places]
    for pair, (k, i) in enumerate(pairs):
        for j, scalar in enumerate(scalars):
            matrix[scalar, i] += layer.to_scalars[j, pair] * x[k]
    pairs = [(i, k) for size, places in runs for i in places for k in places[:size]]
    for pair, (i, k) in enumerate(pairs):
        mixing = sum(layer.to_parts[pair, s] * x[scalar] for s, scalar in enumerate(scalars))
        matrix[i, k] += mixing * torch.eye(i.stop - i.start)
    return x + layer.scale * matrix @ x


@pytest.mark.parametrize("text", ["3*R + 2*V", "2*R + V + 3*P + R", "V + 2*R + V + 2*V*V + R"])
@pytest.mark.parametrize("name", GROUPS)
@torch.no_grad()
def test_layer_is_the_quadratic_map_it_claims_to_be(name, text, dtype, tolerance):
    layer = Bilinear(parse_rep(text, parse_group(name)), scale=0.5)
    x = torch.randn(4, layer.rep_in.size)
    expected = torch.stack([naive(layer, row) for row in x])
    torch.testing.assert_close(layer(x), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("text", ["3*R + 2*V", "V + 2*R + 2*P + V*V + R"])
@pytest.mark.parametrize("name", GROUPS)
def test_layer_is_equivariant(name, text, error, equivariance_tolerance):
    layer = Bilinear(parse_rep(text, parse_group(name)), scale=1.0)
    assert error(layer, layer.rep_in) < 2 * equivariance_tolerance


def test_products_of_coordinates_would_not_be_equivariant(error):
    """Negative control: the same layer on the same numbers, taken for scalars, mixes coordinates."""
    group = parse_group("SO3")
    layer = Bilinear(parse_rep("3*R + 2*P + 2*P", parse_group("Z2")), scale=1.0)
    assert error(layer, parse_rep("R + 2*V", group)) > 0.01


def test_gradient_reaches_both_tensors_and_leading_axes_are_batch_axes():
    layer = Bilinear(parse_rep("3*R + 2*V", parse_group("SO3")))
    y = layer(torch.randn(2, 5, 9))
    assert y.shape == (2, 5, 9)
    y.square().sum().backward()
    assert all(parameter.grad.any() for parameter in layer.parameters())


def test_no_matrix_per_sample():
    """A batch of 256 would need 256 matrices of 226 x 226, 13 million numbers; three copies span all vectors."""
    layer = Bilinear(parse_rep("136*R + 30*V", parse_group("SO3")))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 136 * 30 * 3
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        layer(torch.randn(256, 226, requires_grad=True))
    assert max(saved) <= 256 * 226


def test_representations_without_scalars_or_parts_are_refused():
    group = parse_group("SO(1,3)")
    for text, of in (("2*V", "SO3"), ("5*R", "SO3"), ("32*regular", "D4")):
        with pytest.raises(ValueError, match="the bilinear layer needs scalars beside other, orthogonal parts, got"):
            Bilinear(parse_rep(text, parse_group(of)))
    with pytest.raises(ValueError, match=r"orthogonal parts, got R \+ V of SO\(1,3\)"):
        Bilinear(parse_rep("R + V", group))


def contracted(layer: Bilinear, x: torch.Tensor) -> torch.Tensor:
    """What triples of summands add for one sample, from the definition, copy by copy."""
    parts, at = [], 0
    for count, part in layer.rep_in.parts:
        if part != trivial(layer.rep_in.group):
            parts.append([x[at + k * part.size : at + (k + 1) * part.size] for k in range(count)])
        at += count * part.size
    change = [[torch.zeros_like(copy) for copy in copies] for copies in parts]
    for (acting, source, target), weight in zip(layer.contractions, layer.contracted, strict=True):
        n_firsts = min(len(parts[acting]), len(parts[acting][0]))
        for k in range(n_firsts):
            matrix = parts[acting][k].view(len(parts[target][0]), len(parts[source][0]))
            for i in range(len(parts[target])):
                for j, a in enumerate(parts[source]):
                    change[target][i] += weight[k * len(parts[target]) + i, j] * matrix @ a
    return torch.cat([copy for copies in change for copy in copies])


@pytest.mark.parametrize("text", ["2*R + 3*V + 4*V*V + V*V*V", "R + V*V + 2*V + R"])
@torch.no_grad()
def test_contractions_are_products_of_three_summands(text, dtype, tolerance):
    rep = parse_rep(text, parse_group("SO3"))
    layer = Bilinear(rep, scale=0.5, contractions=True)
    assert len(layer.contractions) == (3 if "V*V*V" in text else 1)
    plain = Bilinear(rep, scale=0.5)
    plain.load_state_dict({k: v for k, v in layer.state_dict().items() if "contracted" not in k})
    x = torch.randn(3, rep.size)
    one = torch.zeros(3, rep.size, dtype=torch.bool)
    at = 0
    for count, part in rep.parts:
        one[:, at : at + count * part.size] = part != trivial(rep.group)
        at += count * part.size
    expected = torch.zeros(3, rep.size)
    expected[one] = torch.stack([contracted(layer, row) for row in x]).flatten()
    torch.testing.assert_close(layer(x) - plain(x), 0.5 * expected, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize(
    ("name", "text"), [("O3", "2*R + 3*V + 2*V*V + V*V*V"), ("D4", "R + 2*V + V*V"), ("SL3", "2*R + 2*V + V' + V*V'")]
)
def test_contractions_are_equivariant(name, text, error, equivariance_tolerance):
    group = parse_group(name)
    vectors = {"V": vector(group), "V'": vector(group).dual()}
    rep = parse_rep(text.replace(" + V' + V*V'", ""), group)
    if "'" in text:
        rep = direct_sum(rep, vectors["V'"], vectors["V"] * vectors["V'"])
    layer = Bilinear(rep, scale=1.0, contractions=True)
    assert layer.contractions
    assert error(layer, rep) < 20 * equivariance_tolerance


def test_matrices_that_act_the_other_way_round_would_not_be_equivariant(error):
    """Negative control: a contraction with the transposed matrix mixes up source and target."""
    group = parse_group("SL3")
    base, dual = vector(group), vector(group).dual()
    layer = Bilinear(direct_sum(trivial(group), base, dual, base * dual), scale=1.0, contractions=True)
    wrong = direct_sum(trivial(group), base, dual, dual * base)
    assert error(layer, wrong) > 0.01

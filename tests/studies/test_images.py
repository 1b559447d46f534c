"""Soft convolutions on digits and tables: data, small runs, and files that are not what they should be."""

import gzip

import numpy as np
import pytest
import torch

from rpp_rl.cli.run_study import main
from rpp_rl.io.border import UserError
from rpp_rl.nn import RPPConv2d, pathways
from rpp_rl.studies import cifar10, digits, uci
from rpp_rl.studies.datasets import CIFAR_BATCHES, CIFAR_RECORD, Table, uci_table
from rpp_rl.studies.datasets import cifar10 as read_cifar10
from rpp_rl.studies.evidence import EvidencePenalty
from rpp_rl.studies.images import ImageNetwork, permuted
from rpp_rl.studies.study import Context, Job, Row, StudySettings, read_rows


@pytest.fixture
def tables(tmp_path):
    """A folder with four small sets, one of them in a folder of its own as in their repository."""
    rng = np.random.default_rng(0)
    for name, (h, w) in uci.SETS.items():
        folder = tmp_path / name if name == "wine" else tmp_path
        folder.mkdir(exist_ok=True)
        prefix = "" if name == "wine" else f"{name}."
        x = rng.normal(size=(40, h * w - 1))
        data = np.column_stack([x, x @ rng.normal(size=x.shape[1])])
        mask = (np.arange(40)[:, None] % 10 == np.arange(10)).astype(int)
        for part, numbers in (("data", data), ("test_mask", mask)):
            text = "\n".join(",".join(map(str, row)) for row in numbers)
            (folder / f"{prefix}{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_digits_in_small(tmp_path, capsys):
    argv = ["digits", "--trials", "2", "--epochs", "2", "--width", "4", "--no-progress", "-o", str(tmp_path)]
    assert main(argv) == 0
    assert "pixels permuted: RPP within 25 %" in capsys.readouterr().out
    rows = read_rows(tmp_path / "results.csv")
    assert {(row.case, row.model) for row in rows} == {(c, m) for c in digits.CASES for m in ("rpp", "conv", "mlp")}
    assert all(0 <= row.value <= 100 for row in rows)
    # Twenty steps are enough to learn something, wherever the pixels are; a dense map cannot tell.
    assert max(row.value for row in rows if row.model == "mlp" and row.metric == "test") < 60


def test_orders_of_pixels_show_the_same_numbers_and_the_same_splits():
    ordered, mixed = (digits.task(case, StudySettings(trials=2)) for case in digits.CASES)
    for one, other in ((ordered.train, mixed.train), (ordered.test, mixed.test)):
        assert torch.equal(one[1], other[1])
        assert torch.equal(one[0].flatten(-2).sort(-1).values, other[0].flatten(-2).sort(-1).values)
        assert not torch.equal(one[0], other[0])
    images = torch.randn(3, 1, 4, 4)
    assert torch.equal(permuted(images, 0)[0], permuted(images[:1], 0)[0]), "one order for all images"


@pytest.mark.parametrize("mode", ["rpp", "emlp", "mlp"])
def test_networks_of_members_and_a_head_without_prior(mode):
    task = digits.task("ordered", StudySettings(trials=2, width=3))
    net = ImageNetwork(task.architecture, mode, 2)
    assert net(task.train[0][:, :5]).shape == (2, 5, 10)
    decayed = pathways(net.blocks)
    n_blocks = sum(isinstance(layer, RPPConv2d) for layer in net.modules())
    assert len(decayed.equiv) + len(decayed.residual) == n_blocks * (4 if mode == "rpp" else 2)
    blocks = [
        layer
        for layer in ImageNetwork(task.architecture, mode, 2, of_code=True).modules()
        if isinstance(layer, RPPConv2d)
    ]
    if mode == "rpp":
        assert all(block.residual_weight.any() and block.weight_norms.eq(1).all() for block in blocks)


def test_the_codes_network_for_images_has_the_size_of_its_paper():
    """Width 2 at 32 x 32: 27 thousand parameters of convolutions, 10.5 million of dense maps."""
    of_code = cifar10.architecture(2)
    sizes = {}
    for mode in ("emlp", "mlp"):
        with torch.device("meta"):
            layers = []
            shape = (3, 32, 32)
            for channels, stride in zip(of_code.channels, of_code.strides, strict=True):
                layers.append(RPPConv2d(shape[0], channels, image_size=shape[1:], stride=stride, mode=mode))
                shape = layers[-1].out_shape
        sizes[mode] = sum(p.numel() for layer in layers for p in layer.parameters())
    assert shape == (32, 2, 2)
    assert sizes["mlp"] == pytest.approx(10.48e6, rel=0.01)
    assert sizes["emlp"] < 27_000


def test_tables_in_small(tables, tmp_path, capsys):
    argv = ["uci", "--trials", "2", "--epochs", "2", "--width", "2", "--no-progress", "--data", str(tables)]
    assert main([*argv, "-o", str(tmp_path / "out")]) == 0
    assert "wine, standardised" in capsys.readouterr().out


def test_penalties_of_tables_are_chosen_where_that_is_asked_for(tables, monkeypatch):
    """Each pathway of each of the three layers of each of the two members ends with a penalty of its own."""
    choosers = []

    def chooser(*args):
        choosers.append(EvidencePenalty(*args))
        return choosers[-1]

    monkeypatch.setattr("rpp_rl.studies.images.EvidencePenalty", chooser)
    context = Context(torch.device("cpu"), tables, lambda n: None)
    settings = StudySettings(trials=2, epochs=12, width=2)
    rows = {m: uci.run(Job("energy-standard", m), settings, context) for m in ("rpp", "evidence")}
    assert len(choosers) == 1
    assert len({float(penalty) for penalties in choosers[0].penalties for penalty in penalties}) == 2 * 6
    assert all(np.isfinite(row.value) for row in rows["evidence"])
    assert rows["rpp"][0].value != rows["evidence"][0].value


def test_tables_are_divided_as_the_paper_did_or_standardised():
    rng = np.random.default_rng(0)
    mask = np.arange(43)[:, None] % 10 == np.arange(10)
    table = Table(rng.normal(size=(43, 5)), 3 * rng.normal(size=43), mask)
    (x, y), (x_test, _), variance = uci.literal(table, trials=2)
    assert (x.shape, x_test.shape, variance) == ((2, 34, 5), (2, 9, 5), 1.0)
    np.testing.assert_allclose(y[1, :, 0], table.y[:34], rtol=1e-6)
    (x, y), (x_test, y_test), variance = uci.standardised(table, trials=4)
    assert (x.shape, x_test.shape) == ((4, 38, 5), (4, 4, 5))
    assert variance == pytest.approx(table.y.var())
    assert torch.cat([y[0], y_test[0]]).var().item() == pytest.approx(1.0, rel=0.1)
    image = uci.as_images(x, (2, 3))
    assert image.shape == (4, 38, 1, 2, 3)
    assert not image[..., 1, 2].any()


def test_baselines_of_tables_are_the_mean_and_least_squares(tables):
    """The targets are linear in the columns: a line leaves nothing, a constant their variance."""
    settings = StudySettings(trials=3)
    ticks = []
    context = Context(torch.device("cpu"), tables, ticks.append)
    for case in ("wine", "wine-standard"):
        table = uci_table(tables, "wine")
        rows = {m: uci.run(Job(case, m), settings, context) for m in (uci.LINEAR, uci.CONSTANT)}
        assert [row.trial for row in rows[uci.LINEAR] if row.metric == "test"] == [0, 1, 2]
        assert max(row.value for row in rows[uci.LINEAR]) < 1e-8
        found = [row.value for row in rows[uci.CONSTANT] if row.metric == "test"]
        masks = [np.arange(40) >= 32] * 3 if case == "wine" else table.is_test[:, :3].T
        expected = [np.square(table.y[mask] - table.y[~mask].mean()).mean() for mask in masks]
        assert found == pytest.approx(expected, rel=1e-4)
    assert ticks == 4 * [uci.EPOCHS]


@pytest.mark.parametrize(("conv", "holds"), [(0.5, True), (2.0, False)])
def test_networks_that_lose_to_a_line_are_told(conv, holds):
    values = {"rpp": 3.0, "conv": conv, "mlp": 3.0, "linear": 1.0, "constant": 4.0}
    claims = uci.claims([Row("wine", model, 0, 1, "test", value) for model, value in values.items()])
    (claim,) = [claim for claim in claims if "wine, as in the paper: the best network" in claim.text]
    assert claim.holds is holds
    assert all(claim.holds is None for claim in uci.claims([]))


def test_missing_and_damaged_tables_are_refused(tables):
    with pytest.raises(UserError, match="give its folder with --data"):
        uci_table(None, "energy")
    with pytest.raises(UserError, match=r"has no yacht.data.csv.gz \(nor yacht/data.csv.gz\)"):
        uci_table(tables, "yacht")
    path = tables / "energy.test_mask.csv.gz"
    (tables / "SHA256SUMS").write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(UserError, match="copy it again"):
        uci_table(tables, "energy")
    (tables / "SHA256SUMS").unlink()
    path.write_bytes(gzip.compress(b"0,1\n1,0\n"))
    with pytest.raises(UserError, match="expected a table and a mask of as many rows"):
        uci_table(tables, "energy")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no table of numbers in CSV"):
        uci_table(tables, "energy")


def test_cifar10_is_read_from_the_binary_files_and_shown_in_both_orders(tmp_path):
    rng = np.random.default_rng(0)
    for name in CIFAR_BATCHES:
        records = rng.integers(256, size=(20, CIFAR_RECORD), dtype=np.uint8)
        records[:, 0] = np.arange(20) % 10
        (tmp_path / name).write_bytes(records.tobytes())
    data = read_cifar10(tmp_path)
    assert data.train[0].shape == (100, 3, 32, 32)
    assert data.test[1].tolist() == 2 * list(range(10))
    x, y = cifar10.subset(*data.train, n_each=3, seed=0)
    assert x.shape == (30, 3, 16, 16)
    assert y.bincount().tolist() == 10 * [3]
    read_cifar10.cache_clear()
    (tmp_path / CIFAR_BATCHES[2]).write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="is no binary batch of CIFAR-10"):
        read_cifar10(tmp_path)
    with pytest.raises(UserError, match="give its folder with --data"):
        read_cifar10(None)
    with pytest.raises(UserError, match="has neither"):
        read_cifar10(tmp_path / "elsewhere")

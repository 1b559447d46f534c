"""Products of matrices: a faster library is used only where it is as accurate, and only for as long as was asked."""

import time

import pytest
import torch

from rpp_rl.fast import matmul_library
from rpp_rl.fast.matmul_library import default_products, fast_products, is_better, set_strict_float32

settings = getattr(torch.backends.mkldnn, "matmul", None)
pytestmark = pytest.mark.skipif(settings is None, reason="torch 2.8 has no such setting")


@pytest.fixture
def better(monkeypatch):
    """A processor on which the other library is better."""
    monkeypatch.setattr(matmul_library, "_onednn_is_better", lambda: True)


def slow(a, b):
    time.sleep(0.002)
    return torch.mm(a, b)


def rounded(a, b):
    return (a.bfloat16() @ b.bfloat16()).float()


def test_a_faster_way_that_is_as_accurate_is_better():
    assert is_better(torch.mm, slow)


def test_a_way_that_rounds_is_not_better_however_fast():
    assert not is_better(rounded, slow)


def test_a_way_of_the_same_speed_is_not_better():
    assert not is_better(torch.mm, torch.mm)


def test_the_setting_lasts_as_long_as_the_block(better):
    with fast_products():
        assert settings.fp32_precision == "bf16"
    assert settings.fp32_precision == "none"


def test_an_error_ends_the_setting_too(better):
    @fast_products()
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert settings.fp32_precision == "none"


def test_blocks_can_be_nested(better):
    with fast_products():
        with fast_products():
            pass
        assert settings.fp32_precision == "bf16"


def test_products_with_vectors_are_asked_of_the_default_library(better):
    with fast_products():
        with default_products():
            assert settings.fp32_precision == "none"
        assert settings.fp32_precision == "bf16"
    assert settings.fp32_precision == "none"


def test_a_function_that_calls_itself_leaves_no_trace(better):
    @fast_products()
    def descend(n):
        assert settings.fp32_precision == "bf16"
        return descend(n - 1) if n else 0

    descend(2)
    assert settings.fp32_precision == "none"


@pytest.mark.parametrize("precision", ["ieee", "bf16"])
def test_what_somebody_else_has_set_stays(better, precision):
    settings.fp32_precision = precision
    try:
        with fast_products():
            with default_products():
                assert settings.fp32_precision == precision
            assert settings.fp32_precision == precision
        assert settings.fp32_precision == precision
    finally:
        set_strict_float32(False)
    assert settings.fp32_precision == "none"


@pytest.mark.parametrize("shape", [(256, 113, 256), (256, 256, 16), (100, 264, 1)], ids=str)
def test_products_have_the_accuracy_of_float32(shape):
    m, k, n = shape
    x, w = torch.randn(m, k), torch.randn(n, k)
    exact = x.double() @ w.double().T
    with fast_products():
        error = (torch.nn.functional.linear(x, w) - exact).abs().max()
    assert error < 1e-6 * k**0.5 * exact.abs().max()
    assert (rounded(x, w.T) - exact).abs().max() > 1e-6 * k**0.5 * exact.abs().max()

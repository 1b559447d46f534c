"""What exists for speed alone: the same numbers as the plain code, sooner.

Everything here has a plain twin, which a reader may take in its place, and a test in ``tests/fast`` that compares both:

* `FastUpdate`, with `adam_step` and `SquashedSample`: `rpp_rl.sac.plain_update`. ``test_sac_update``: the parameters
  after a hundred updates agree to 1e-4 of the way they went.
* `CapturedUpdate`: `FastUpdate`, step by step. ``test_captured_update``: to 1e-4 of the way.
* `DeviceReplay`: the replay buffer. ``test_batches``: every bit.
* `Weights`, `shared_weights`, `mlp`: the layers of `rpp_rl.nn`, one by one. ``test_network_weights``: values and
  gradients to 1e-4, in double precision to 1e-10.
* `GatedProducts`, inside of `shared_weights`: `Bilinear` and `Gated`. ``test_gated_products``: likewise, and the losses
  of ten epochs to 1e-4.
* `ChainPass`: `AutogradPass`. ``test_network_weights``: likewise.
* `fast_products`: torch's default. ``test_matmul_library``: taken only if its errors are at most twice as large.

What this does not fit (another layer, optimiser or loss) goes the plain way by itself. `rpp_rl.nn` does not know of it:
layers say which linear map their coefficients stand for (`RPPLinear.equivariant_operator`), and compute with
weights that were made before (`RPPLinear.shared`, `Trunk.stand_in`). The plain update does not import it either.
"""

from typing import TYPE_CHECKING

from rpp_rl._lazy import lazy_names

if TYPE_CHECKING:
    from rpp_rl.fast.batches import DeviceReplay
    from rpp_rl.fast.captured_update import CapturedUpdate
    from rpp_rl.fast.matmul_library import fast_products, set_strict_float32
    from rpp_rl.fast.network_weights import Weights, shared_weights
    from rpp_rl.fast.sac_update import FastUpdate

__all__ = [
    "CapturedUpdate",
    "DeviceReplay",
    "FastUpdate",
    "Weights",
    "fast_products",
    "set_strict_float32",
    "shared_weights",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "rpp_rl.fast.batches": ("DeviceReplay",),
        "rpp_rl.fast.captured_update": ("CapturedUpdate",),
        "rpp_rl.fast.matmul_library": ("fast_products", "set_strict_float32"),
        "rpp_rl.fast.network_weights": ("Weights", "shared_weights"),
        "rpp_rl.fast.sac_update": ("FastUpdate",),
    },
)

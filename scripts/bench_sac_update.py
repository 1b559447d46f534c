"""Time one SAC update of every kind of network side by side: SB3's, SBX's if installed, and this package's.

    python scripts/bench_sac_update.py                       # one table, Ant-v4
    python scripts/bench_sac_update.py --scaling batch width  # tables over batch size and width

All take turns in one process, and so do the products of matrices by which the arithmetic limit is measured: the
operations of the update (with plain networks) at the best rate that any library reaches here. Times are those of the
process on a CPU and by the clock on a GPU; the median over the rounds is reported.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from scripts.measuring import (
    KINDS,
    add_update_flags,
    available,
    fill,
    in_turns,
    machine,
    make_agent,
    milliseconds,
    print_table,
    product_timers,
    set_threads,
    update_flops,
)

DEFAULT_KINDS = ["sb3", "sbx", "mlp", "emlp", "rpp", "rpp_faithful"]
SCALING: dict[str, list[dict[str, Any]]] = {
    "batch": [{"batch_size": n} for n in (256, 512, 1024, 2048, 4096)],
    "width": [{"net_arch": [n, n]} for n in (256, 512, 1024)],
    "group": [
        {"env": "Ant-v4", "group": "Z2"},
        {"env": "Ant-v4", "group": "Z4"},
        {"env": "Ant-v4", "group": "D4"},
        {"env": "Swimmer-v4", "group": "Z2xZ2"},
    ],
    "observation": [
        {"env": env, "group": None} for env in ("Swimmer-v4", "Walker2d-v4", "Ant-v4", "Ant-v5", "Humanoid-v4")
    ],
}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Time all kinds and the arithmetic limit, and compare them."""
    timers, build_seconds, agent = {}, {}, None
    for kind in args.kinds:
        start = time.perf_counter()
        settings = {"batch_size": args.batch_size, "buffer_size": args.n_transitions}
        agent = make_agent(kind, args.env, args.group, args.net_arch, args.device, **settings)
        build_seconds[kind] = time.perf_counter() - start
        fill(agent, args.env, args.n_transitions)

        def update(agent: Any = agent) -> None:  # noqa: ANN401
            agent.train(gradient_steps=1, batch_size=args.batch_size)

        milliseconds(update, args.n_updates, args.device)  # compiles what is compiled
        timers[kind] = lambda update=update: milliseconds(update, args.n_updates, args.device)
    assert agent is not None
    obs_dim, act_dim = agent.observation_space.shape[0], agent.action_space.shape[0]
    products = product_timers(args.batch_size, args.net_arch[0], args.device)
    times = in_turns({**timers, **products}, args.rounds)
    ms = {kind: times[kind] for kind in args.kinds}
    gigaflops = {name: 2e-6 * args.batch_size * args.net_arch[0] ** 2 / times[name] for name in products}
    flops = update_flops(obs_dim, act_dim, args.net_arch, args.batch_size)
    limit = 1e-6 * flops / max(gigaflops.values())
    return {
        "settings": {"env": args.env, "group": args.group, "net_arch": args.net_arch, "batch_size": args.batch_size},
        "ms_per_update": ms,
        "build_seconds": build_seconds,
        "gigaflops_per_second": gigaflops,
        "megaflops_per_update": flops / 1e6,
        "limit_ms": limit,
        "ratios": ratios(ms, limit),
    }


def ratios(ms: dict[str, float], limit: float) -> dict[str, float]:
    """The comparisons that count, of those whose kinds were measured."""
    pairs = [(kind, "sb3") for kind in ms if kind != "sb3"]
    pairs += [("rpp", "mlp"), ("rpp", "sbx"), ("rpp_faithful", "mlp"), ("emlp", "mlp"), ("mlp", "sbx")]
    found = {f"{a}_vs_{b}": ms[a] / ms[b] for a, b in pairs if a in ms and b in ms}
    return found | {f"{kind}_vs_limit": ms[kind] / limit for kind in ("mlp", "rpp") if kind in ms}


def show(result: dict[str, Any]) -> None:
    """Print one measurement as a table."""
    settings, ms = result["settings"], result["ms_per_update"]
    print(f"\n{settings}")
    base = {name: ms.get(name, float("nan")) for name in ("sb3", "mlp")}
    columns = ["networks", "ms/update", "to SB3", "to mlp", "to limit", "build [s]"]
    limit, seconds = result["limit_ms"], result["build_seconds"]
    rows = [[k, t, t / base["sb3"], t / base["mlp"], t / limit, seconds[k]] for k, t in ms.items()]
    print_table(columns, [*rows, ["limit", limit, limit / base["sb3"], limit / base["mlp"], 1.0, ""]])
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["gigaflops_per_second"].items())
    print(f"limit: {result['megaflops_per_update']:.0f} MFLOP at the best of these rates in GFLOP/s: {rates}")


def main() -> None:
    """Parse the command line, measure, print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Ant-v4")
    parser.add_argument("--group", help="variant of the environment's specification")
    parser.add_argument("--net-arch", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=DEFAULT_KINDS)
    parser.add_argument("--scaling", nargs="+", choices=SCALING, default=[], help="what to vary, one table per value")
    add_update_flags(parser)
    args = parser.parse_args()
    set_threads(args.num_threads)
    args.kinds = available(args.kinds)
    if args.scaling:
        # The paper's layers are given for one width, and not for all environments.
        args.kinds = [kind for kind in args.kinds if kind != "rpp_faithful"]
    changes = [change for name in args.scaling for change in SCALING[name]] or [{}]
    results = [measure(argparse.Namespace(**{**vars(args), **change})) for change in changes]
    about = {"machine": machine(args.device), "num_threads": args.num_threads, "device": args.device}
    if args.json:
        first = results[0] if len(results) == 1 else {"results": results}
        print(json.dumps({**about, **first}, indent=2))
        return
    print(about)
    for result in results:
        show(result)


if __name__ == "__main__":
    main()

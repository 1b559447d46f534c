"""Agents as files for other programs: one graph from the observation to the action, without this package.

``onnx`` runs wherever there is an ONNX runtime; ``torch`` is an archive of `torch.export` (TorchScript is deprecated),
which ``torch.export.load(file).module()`` opens without this package.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from rpp_rl._version import __version__
from rpp_rl.agents.acting_network import acting_network
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.io.atomic import replacing
from rpp_rl.io.extras import need

Format = Literal["onnx", "torch"]
"""What a file is for."""

SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
"""How the files end; torch opens an archive of another name, but not without a warning."""

INPUT, OUTPUT = "observation", "action"
"""Names of the graph's input, float32 of shape ``(batch, obs)``, and output, float32 of shape ``(batch, action)``."""


def export_agent(agent: TrainedAgent, path: str | Path, format: Format = "onnx") -> float:
    """Write the deterministic policy: weights merged, change of coordinates, normalisation and rescaling inside.

    Args:
        agent: The agent.
        path: The file to write; it is complete or absent.
        format: ``onnx`` or ``torch``.

    Returns:
        The largest difference between the actions of the file and of the agent on 256 random observations.

    Raises:
        ValueError: If the format is unknown, or the suffix does not match it.
        MissingExtraError: If the packages for it are not installed.
        OSError: If the file cannot be written.
    """
    if format not in get_args(Format):
        raise ValueError(f"format must be one of {', '.join(get_args(Format))}, got {format!r}")
    path = Path(path)
    if path.suffix != SUFFIXES[format]:
        raise ValueError(f"{path}: expected a name that ends in {SUFFIXES[format]} for {format}")
    network, facts = acting_network(agent.policy), _facts(agent)
    example = torch.zeros(2, *agent.observation_space.shape)
    content = onnx_bytes(network, example, facts) if format == "onnx" else _torch(network, example, facts)
    obs = np.random.default_rng(0).normal(size=(256, *agent.observation_space.shape)).astype(np.float32)
    actions = _run_onnx(content, obs) if format == "onnx" else _run_torch(content, obs)
    with replacing(path) as file:
        file.write(content)
    return float(np.abs(actions - agent.policy.predict(obs, deterministic=True)[0]).max())


def _facts(agent: TrainedAgent) -> dict[str, str]:
    """Facts for whoever finds the file."""
    return {
        "name": str(agent.card.get("name", "")),
        "env_id": agent.env_id or "",
        "env_kwargs": json.dumps(agent.env_kwargs),
        "group": "" if agent.spec is None else agent.spec.variant,
        "steps": str(agent.n_steps),
        "rpp_rl": __version__,
    }


def onnx_bytes(network: nn.Module, example: torch.Tensor, facts: dict[str, str]) -> bytes:
    """A network as an ONNX file with facts about it; the first axis of its input may have any length."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        need(module, "onnx")
    shapes = ({0: torch.export.Dim("batch")},)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # the exporter leaves the paths of this machine's source files there
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _torch(network: nn.Module, example: torch.Tensor, facts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with _quiet():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # it names the paths of this machine's source files
        torch.export.save(program, buffer, extra_files={"agent.json": json.dumps(facts)})
    return buffer.getvalue()


def _run_onnx(content: bytes, obs: np.ndarray) -> np.ndarray:
    session = need("onnxruntime", "onnx").InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: obs})[0]


def _run_torch(content: bytes, obs: np.ndarray) -> np.ndarray:
    with _quiet():
        return torch.export.load(io.BytesIO(content)).module()(torch.as_tensor(obs)).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporters warn of their own deprecated calls and of packages that the graph does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

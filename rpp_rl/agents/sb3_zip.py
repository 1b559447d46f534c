"""Agents in the zip files of Stable-Baselines3, read without running what is pickled in them.

Such a file holds ``data`` (JSON, in which anything but a plain value is a pickle, with its attributes as text beside
it) and tensors that torch reads with ``weights_only=True``. What an agent of this package needs is in the plain
part: the arguments of its networks are plain values by design, and the bounds of the spaces are there as text. A file
from elsewhere can only be loaded by running its pickles, which needs ``trust=True``. Nothing is
unpacked to the disk.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import torch
from gymnasium.spaces import Box
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.utils import get_device
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor

from rpp_rl.agents.checked_policy import POLICY_ARGUMENTS, build_policy, space_from_dict
from rpp_rl.agents.errors import AgentError, refusing
from rpp_rl.agents.trained_agent import TrainedAgent
from rpp_rl.sac.config import NetworkSettings

OWN_MODULE = "rpp_rl.sac.policies"
MAX_MEMBERS = 100
MAX_BYTES = 2**29
"""Most bytes that an archive may unpack to."""
MAX_DATA_BYTES = 2**24
MAX_INFLATION = 20
"""Most bytes that a byte of the archive may unpack to, beyond `MAX_DATA_BYTES`; weights hardly pack."""
PICKLE = ":serialized:"
GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch (Float|Double|Half|BFloat16)Storage"
)
"""What the pickle in a file of tensors may name; torch's reader of weights knows much more."""
DEFAULTS = {**NetworkSettings(mode="rpp").policy_kwargs(), "spec": None}
"""What an argument that is not in the file was."""
HARMLESS = {"use_sde", "optimizer_kwargs", "actor_residual_decay", "critic_residual_decay"}
"""Arguments that change nothing about how the networks act."""


def read_zip(path: Path, *, trust: bool, device: str) -> TrainedAgent:
    """The agent in a zip file, with what the file itself knows about it.

    Args:
        path: The file.
        trust: Whether to run the pickles in a file from elsewhere.
        device: Where to put it.

    Raises:
        AgentError: If the file is damaged, or holds pickled code that would have to run and is not trusted.
        OSError: If it cannot be read.
    """
    damage = (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError, KeyError, RecursionError)
    with refusing(f"{path} is damaged or no agent's zip file", *damage, MemoryError, OverflowError):
        members = _read_members(path)
        data = json.loads(members["data"])
        if not isinstance(data, dict):
            raise AgentError(f"{path}: expected an agent, got a zip file of something else")
        reason = _foreign(data)
        card = {"name": path.stem, "steps": _steps(data)}
    if reason is not None and not trust:
        raise AgentError(
            f"{path} was not made by this package ({reason}), so it can only be loaded by running the pickled code "
            "in it, which may do anything on this machine; if you trust whoever made it, use trust=True (--trust)"
        )
    if reason is not None:
        return TrainedAgent(_run_pickles(path, device), env_id=None, env_kwargs={}, config={}, card=card)
    kwargs = {name: data["policy_kwargs"].get(name, DEFAULTS[name]) for name in POLICY_ARGUMENTS}
    with refusing(path, ValueError):
        weights = _tensors(members["policy.pth"], "policy.pth")
        observation_space, action_space = (_space(data, key) for key in ("observation_space", "action_space"))
        policy = build_policy(kwargs, observation_space, action_space, weights, device, version=_version(weights))
        variables = _tensors(members["pytorch_variables.pth"], "pytorch_variables.pth")
    log_ent_coef = variables.get("log_ent_coef", torch.zeros(0)).detach()
    env_id = None if policy.symmetry is None else policy.symmetry.env_id
    return TrainedAgent(
        policy,
        env_id=env_id,
        env_kwargs={},
        config={},
        card=card,
        log_ent_coef=float(log_ent_coef) if log_ent_coef.numel() == 1 else None,
    )


def _read_members(path: Path) -> dict[str, bytes]:
    """The three members that matter, from an archive whose sizes and checksums are right."""
    names = ("data", "policy.pth", "pytorch_variables.pth")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        limit = min(MAX_BYTES, MAX_DATA_BYTES + MAX_INFLATION * path.stat().st_size)
        if len(members) > MAX_MEMBERS or size > limit:
            raise AgentError(f"{path}: expected an agent, got an archive of {len(members)} files and {size} bytes")
        if not set(names) <= set(archive.namelist()):
            raise AgentError(f"{path}: expected an agent, got a zip file of something else or one cut short")
        if archive.getinfo("data").file_size > MAX_DATA_BYTES:
            raise AgentError(f"{path}: expected at most {MAX_DATA_BYTES} bytes of settings")
        broken = archive.testzip()
        if broken is not None:
            raise AgentError(f"{path} is damaged: the checksum of {broken[:80]} in it is wrong")
        return {name: archive.read(name) for name in names}


def _foreign(data: dict[str, Any]) -> str | None:
    """Why an agent cannot be read from plain values alone; None if it can."""
    policy_class, kwargs = data.get("policy_class"), data.get("policy_kwargs")
    module = policy_class.get("__module__") if isinstance(policy_class, dict) else None
    if module != OWN_MODULE:
        return f"it has a policy of {str(module)[:80]}"
    if not isinstance(kwargs, dict) or PICKLE in kwargs:
        return "the arguments of its policy are pickled"
    unknown = sorted(set(kwargs) - set(POLICY_ARGUMENTS) - HARMLESS)
    return f"its policy has the argument {unknown[0][:80]}" if unknown else None


def _steps(data: dict[str, Any]) -> int:
    n_steps = data.get("num_timesteps")
    return n_steps if type(n_steps) is int and n_steps >= 0 else 0


def _space(data: dict[str, Any], key: str) -> Box:
    """A box from the text of its attributes, as NumPy prints them: bounds have 8 digits."""
    space = data.get(key)
    if not isinstance(space, dict) or "gymnasium.spaces.box.Box" not in str(space.get(":type:")):
        raise AgentError(f"{key}: expected a Box of numbers, got {str(space)[:80]}")
    low, high = (re.findall(r"[^\s\[\],]+", str(space.get(end))) for end in ("low", "high"))
    if "..." in low or "..." in high:
        raise AgentError(f"{key}: its bounds are abridged in the file, because there are more than 1000")
    return space_from_dict({"dtype": space.get("dtype"), "low": _numbers(low), "high": _numbers(high)})


def _numbers(texts: list[str]) -> list[float]:
    with refusing("the agent's spaces are damaged", ValueError):
        return [float(text) for text in texts]


def _tensors(data: bytes, name: str) -> dict[str, Tensor]:
    """Tensors by name; torch's reader refuses most else."""
    damage = (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, ValueError, KeyError, IndexError)
    with refusing(f"{name} is damaged", *damage, TypeError, AttributeError, AssertionError, OverflowError, MemoryError):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            pickles = [member for member in archive.namelist() if member.lower().endswith("data.pkl")]
            if len(pickles) != 1:
                raise AgentError(f"{name}: expected one data.pkl, got {len(pickles)}")
            if size <= len(data):
                _check_pickle(archive.read(pickles[0]), name)
        if size > len(data):  # torch packs nothing
            raise AgentError(f"{name} has {len(data)} bytes and would unpack to {size}")
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
            raise AgentError(f"{name}: expected tensors by name")
        n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if n_bytes > len(data):  # many numbers of a tensor may be one number of the file
            raise AgentError(f"{name} has {len(data)} bytes and tensors of {n_bytes}")
        return tensors


def _check_pickle(data: bytes, name: str) -> None:
    """Refuse what is not made of tensors, or takes for ever: forty pairs of pairs as a key are hashed 2^40 times."""
    shared, before = set(), ""
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "GLOBAL" and not GLOBALS.fullmatch(str(argument)):
            raise AgentError(f"{name}: expected tensors by name, got {str(argument)[:80]}")
        if operation.name in ("BINPUT", "LONG_BINPUT"):
            (shared.add if before in ("GLOBAL", "BINUNICODE") else shared.discard)(argument)
        elif operation.name in ("BINGET", "LONG_BINGET") and argument not in shared:
            raise AgentError(f"{name}: expected tensors by name, got something that is used twice")
        before = operation.name


def _version(weights: dict[str, Tensor]) -> int:
    """The version of the layers in a state dict, which torch saves beside the tensors."""
    metadata = vars(weights).get("_metadata") if isinstance(weights, OrderedDict) else None
    entries = list(metadata.values()) if isinstance(metadata, dict) else []
    return 2 if {"version": 2} in entries else 1


def _run_pickles(path: Path, device: str) -> SACPolicy:
    """The policy of a trusted file, built as Stable-Baselines3 does."""
    kinds = (ValueError, TypeError, KeyError, RuntimeError, AttributeError, ImportError, AssertionError)
    with refusing(path, *kinds):
        where = get_device(device)
        data, params, _ = load_from_zip_file(path, device=where)
        if data is None or not issubclass(data["policy_class"], SACPolicy):
            raise AgentError(f"{path}: expected an agent of SAC, got another kind")
        spaces = data["observation_space"], data["action_space"]
        policy = data["policy_class"](*spaces, lambda _: 0.0, **data["policy_kwargs"])
        policy.load_state_dict(cast(dict[str, Tensor], params["policy"]))
        return policy.to(where)

"""Damaged and malicious files of agents, made from good ones, for ``fuzz.py``."""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import envs_reps
from rpp_rl.agents import load_agent, save_agent
from rpp_rl.agents.agent_record import KIND, VERSION
from rpp_rl.agents.card import evaluation_record
from rpp_rl.io.tensor_file import read_weights, write_weights
from rpp_rl.nn import Mode
from rpp_rl.sac import RPPSAC
from rpp_rl.sac.config import SACConfig
from scripts.agent_payloads import MANY_BYTES, ODD, Payload, places, zipped

MODES: Mapping[str, Mode] = {"Walker2d-v5": "rpp", "Swimmer-v5": "emlp", "Hopper-v5": "mlp"}
"""The good agents."""


@dataclass(frozen=True)
class Case:
    """A file for a reader.

    Attributes:
        kind: How it was made.
        name: Where it lies; of an agent the end of its name.
        data: What is in it.
        may_load: Whether it may be accepted, because what was changed means nothing, or something harmless.
    """

    kind: str
    name: str
    data: bytes
    may_load: bool = False


class Forge:
    """Makes the files, from good ones.

    Args:
        folder: Where to work.
        rng: Decides everything.
    """

    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder, self.rng = folder, rng
        self.canary = folder / "canary"
        self.zeros = zipped({"archive/data.pkl": bytes(MANY_BYTES)}, zipfile.ZIP_DEFLATED)
        self.files: list[bytes] = []
        self.zips: list[bytes] = []
        self.contents: list[tuple[dict[str, Any], dict[str, torch.Tensor]]] = []
        for env_id, mode in MODES.items():
            zip_path, path = folder / f"{env_id}.zip", folder / f"{env_id}.safetensors"
            env = gym.make(env_id)
            kwargs = {"spec": envs_reps.load(env_id).to_dict(), "mode": mode, "net_arch": [8, 8]}
            RPPSAC("RPPPolicy", env, buffer_size=10, policy_kwargs=kwargs).save(zip_path)
            agent = load_agent(zip_path, device="cpu")
            agent.config = SACConfig(env=env_id, mode=mode, net_arch=(8, 8)).to_dict()
            agent.card["evaluation"] = evaluation_record([1.0, 2.0], [10, 20], seed=0)
            save_agent(agent, path)
            self.zips.append(zip_path.read_bytes())
            self.files.append(path.read_bytes())
            self.contents.append(read_weights(path, KIND, VERSION))
            env.close()
        self.makers = [
            self.flipped, self.truncated, self.overwritten, self.extended, self.damaged_header, self.damaged_zip,
            self.forged_value, self.forged_value, self.missing_value, self.wrong_weights, self.wrong_weights,
            self.swapped, self.bomb, self.traversal, self.pickled, self.forged_zip,
        ]  # fmt: skip

    def case(self) -> Case:
        """One random case; a change that puts in what was there leaves a good file."""
        case = self._pick(self.makers)()
        return replace(case, may_load=case.may_load or case.data in (*self.files, *self.zips))

    def _pick(self, values: list[Any]) -> Any:  # noqa: ANN401
        return values[int(self.rng.integers(len(values)))]

    def _good(self) -> tuple[str, bytearray]:
        return (".safetensors", bytearray(self._pick(self.files))) if self.rng.random() < 0.7 else self._good_zip()

    def _good_zip(self) -> tuple[str, bytearray]:
        return ".zip", bytearray(self._pick(self.zips))

    def flipped(self) -> Case:
        """Some bits flipped; in an archive there are bytes that mean nothing, such as times."""
        suffix, data = self._good()
        for _ in range(int(self.rng.integers(1, 9))):
            data[int(self.rng.integers(len(data)))] ^= 1 << int(self.rng.integers(8))
        return Case("flipped bits", suffix, bytes(data), may_load=suffix == ".zip")

    def truncated(self) -> Case:
        """The end is missing."""
        suffix, data = self._good()
        return Case("truncated", suffix, bytes(data[: int(self.rng.integers(len(data)))]))

    def overwritten(self) -> Case:
        """A stretch of random bytes, or of zeros; it may lie in a part of an archive that means nothing."""
        suffix, data = self._good()
        start, length = int(self.rng.integers(len(data))), int(self.rng.integers(1, 4000))
        new = self.rng.bytes(length) if self.rng.random() < 0.5 else bytes(length)
        return Case(
            "overwritten", suffix, bytes(data[:start] + new + data[start + length :]), may_load=suffix == ".zip"
        )

    def extended(self) -> Case:
        """Something behind the end; an archive may carry a comment."""
        suffix, data = self._good()
        return Case("extended", suffix, bytes(data) + self.rng.bytes(int(self.rng.integers(1, 1000))), suffix == ".zip")

    def damaged_header(self) -> Case:
        """The text of the header is changed in one place, the length that stands before it is right."""
        data = self._pick(self.files)
        size = int.from_bytes(data[:8], "little")
        header = bytearray(data[8 : 8 + size])
        words = [
            b'"',
            b"{",
            b"]",
            b"NaN",
            b"1e999",
            b"-1",
            b"F64",
            b"\xff\xfe",
            b"[" * 20000,
            b"9" * 5000,
            b'{"a":' * 9000,
        ]
        at = int(self.rng.integers(len(header)))
        header[at : at + int(self.rng.integers(0, 3))] = self._pick(words)
        return Case(
            "damaged header", ".safetensors", len(header).to_bytes(8, "little") + bytes(header) + data[8 + size :]
        )

    def damaged_zip(self) -> Case:
        """A member of an archive is damaged before its checksum is made, or is something else, or is missing."""
        members = self._members()
        name = self._pick(["data", "policy.pth", "pytorch_variables.pth"])
        content, way = bytearray(members[name]), int(self.rng.integers(4))
        if way == 0:
            del members[name]
        elif way == 1:
            members[name] = bytes(content[: int(self.rng.integers(len(content)))])
        elif way == 2:
            members[name] = self.rng.bytes(100)
        else:
            for _ in range(3):
                content[int(self.rng.integers(len(content)))] = int(self.rng.integers(256))
            members[name] = bytes(content)
        return Case("damaged member of a zip", ".zip", zipped(members), may_load=way == 3)

    def forged_value(self) -> Case:
        """One value of the document is another; some, such as a return, are only wrong."""
        document, tensors = self._document()
        owner, key = self._pick(list(places(document)))
        owner[key] = copy.deepcopy(self._pick(ODD))
        return self._forged("forged value", document, tensors, may_load=True)

    def missing_value(self) -> Case:
        """One value of the document is missing; those of card and configuration may be."""
        document, tensors = self._document()
        owner, key = self._pick(list(places(document)))
        del owner[key]
        return self._forged("missing value", document, tensors, may_load=True)

    def wrong_weights(self) -> Case:
        """A tensor has another shape or type, is not finite, is missing, or there is one more."""
        document, tensors = self._document()
        name = self._pick([name for name, tensor in tensors.items() if tensor.numel()])
        tensor = tensors[name]
        changes: list[Callable[[], torch.Tensor]] = [
            lambda: torch.zeros(*tensor.shape, 1),
            lambda: torch.zeros(tensor.numel() + 1),
            lambda: torch.zeros(0),
            lambda: tensor.to(torch.int32),
            lambda: tensor * float(self._pick([np.nan, np.inf, -np.inf])) + float("nan"),
        ]
        way = int(self.rng.integers(len(changes) + 2))
        if way == len(changes):
            del tensors[name]
        elif way > len(changes):
            tensors[f"{name}.more"] = torch.zeros(3)
        else:
            tensors[name] = changes[way]()
        return self._forged("wrong weights", document, tensors)

    def swapped(self) -> Case:
        """A part is that of an agent of another environment."""
        k, other = self.rng.permutation(len(self.contents))[:2]
        document, tensors = copy.deepcopy(self.contents[k])
        other_document, other_tensors = self.contents[other]
        part = self._pick(["env", "observation_space", "action_space", "policy", "spec", "weights"])
        if part == "weights":
            tensors = dict(other_tensors)
        elif part == "spec":
            document["policy"]["spec"] = other_document["policy"]["spec"]
        else:
            document[part] = other_document[part]
        # Two robots may have the same bounds of their actions.
        return self._forged(
            "swapped environment", document, tensors, document == self.contents[k][0] and part != "weights"
        )

    def bomb(self) -> Case:
        """Small on the disk, large in memory."""
        document, tensors = self._document()
        spec, huge = document["policy"]["spec"], int(self._pick([10**4, 10**6, 10**9, 2**40, 2**62]))
        ways: dict[str, Callable[[], Any]] = {
            "net_arch": lambda: document["policy"].update(net_arch=[huge, huge]),
            "layers": lambda: document["policy"].update(net_arch=[8] * 10**4),
            "n_critics": lambda: document["policy"].update(n_critics=huge),
            "count": lambda: spec["reps"][0]["parts"][0].update(count=huge),
            "size": lambda: spec["reps"][0]["parts"][0].update(size=huge),
            "group": lambda: spec["group"].update(d=huge),
            "indices": lambda: spec["observation"][0].update(indices=[huge] * 1000),
            "space": lambda: document["observation_space"].update(low=[None] * 10**5, high=[None] * 10**5),
        }
        way = self._pick([*ways, "header", "tensor", "zip", "zip in zip", "many members", "json"])
        if way in ways:
            ways[way]()
            return self._forged(f"bomb: {way}", document, tensors)
        return Case(
            f"bomb: {way}", ".zip" if "zip" in way or "members" in way else ".safetensors", self._raw_bomb(way, huge)
        )

    def _raw_bomb(self, way: str, huge: int) -> bytes:
        members = self._members()
        if way == "header":
            return min(huge, 2**63).to_bytes(8, "little") + b"{}"
        if way == "tensor":
            header = json.dumps({"w": {"dtype": "F32", "shape": [huge, 4], "data_offsets": [0, 16]}}).encode()
            return len(header).to_bytes(8, "little") + header + bytes(16)
        if way == "json":
            text = b"[" * 2_000_000 + b"]" * 2_000_000
            return len(text).to_bytes(8, "little") + text
        if way == "many members":
            return zipped({**members, **{f"{k}": b"" for k in range(5000)}})
        if way == "zip in zip":
            return zipped({**members, "policy.pth": self.zeros})
        return self.zeros

    def traversal(self) -> Case:
        """Names that lead elsewhere, of members and of tensors."""
        name = self._pick(["../../escaped", "/tmp/escaped", "..\\..\\escaped", "a/../../escaped", "C:\\escaped"])
        if self.rng.random() < 0.5:
            return Case("path traversal", ".zip", zipped({**self._members(), name: b"escaped"}), may_load=True)
        document, tensors = self._document()
        tensors[name] = torch.zeros(1)
        return self._forged("path traversal", document, tensors)

    def pickled(self) -> Case:
        """A payload that would run if anything were unpickled, in every place that has held a pickle."""
        payload = pickle.dumps(Payload(self.canary), protocol=int(self.rng.integers(0, 5)))
        way = self._pick(["bare", "torch", "policy.pth", "pytorch_variables.pth", "joined"])
        saved = io.BytesIO()
        torch.save({"w": Payload(self.canary)}, saved, _use_new_zipfile_serialization=bool(self.rng.random() < 0.5))
        if way == "bare":
            return Case("pickle", self._pick([".safetensors", ".zip", ".pkl"]), payload)
        if way == "torch":
            return Case("pickle of torch", self._pick([".safetensors", ".zip", ".pth"]), saved.getvalue())
        if way == "joined":
            return Case("pickle behind an agent", ".safetensors", self._pick(self.files) + payload)
        content = payload if self.rng.random() < 0.5 else saved.getvalue()
        return Case("pickle in a zip", ".zip", zipped({**self._members(), way: content}))

    def forged_zip(self) -> Case:
        """A payload, or an odd value, in the JSON of a zip file; most of its entries are never looked at."""
        members = self._members()
        data = json.loads(members["data"])
        entry = {":type:": "x", ":serialized:": base64.b64encode(pickle.dumps(Payload(self.canary))).decode()}
        name = self._pick(list(data) + ["policy_class", "policy_kwargs", "observation_space", "action_space"] * 5)
        value = self._pick([{**entry, "__module__": "rpp_rl.sac.policies"}, entry, self._pick(ODD)])
        if name == "policy_kwargs" and self.rng.random() < 0.7:
            key = self._pick([*data["policy_kwargs"], "optimizer_class", "features_extractor_class"])
            data["policy_kwargs"][key] = value
        else:
            data[name] = value
        members["data"] = json.dumps(data).encode()
        return Case("forged zip", ".zip", zipped(members), may_load=True)

    def _members(self) -> dict[str, bytes]:
        with zipfile.ZipFile(io.BytesIO(self._pick(self.zips))) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def _document(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        return copy.deepcopy(self._pick(self.contents))

    def _forged(
        self, kind: str, document: dict[str, Any], tensors: dict[str, torch.Tensor], may_load: bool = False
    ) -> Case:
        """A file with a correct checksum; a document that has lost its kind or version gets them back."""
        path = self.folder / "forged.safetensors"
        write_weights(path, KIND, VERSION, document, tensors)
        return Case(kind, ".safetensors", path.read_bytes(), may_load)

"""What is done of a training: the heads that go on, AdamW's figures of them, each head's best weights; and its file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checkpoint.tensors import Entry, SafetensorsFile, write_safetensors
from ..errors import CheckpointError, OptionError
from ..optional import need
from ..records import Float64Array
from .stack import PURPOSE, Stack

_KEY = "emonet_fast.training"
_PARTS = ("stack", "first", "second", "best")


@dataclass(slots=True)
class State:
    """A training after some epochs. Tensors are PyTorch's, float32.

    Args:
        stack: layers of the h heads that go on.
        first: AdamW's mean of the gradients, of each weight and bias in order.
        second: likewise, of their squares.
        best: layers of all H heads at their best epoch.
        active: [h] which heads go on.
        best_loss: [H] on the stopping part.
        best_epoch: [H] from 1; 0 as they came.
        epoch: how many are done.
        learning: for each epoch, each head's loss; NaN after its end.
        stopping: likewise.
    """

    stack: Stack
    first: list[Any]
    second: list[Any]
    best: Stack
    active: npt.NDArray[np.int64]
    best_loss: Float64Array
    best_epoch: npt.NDArray[np.int64]
    epoch: int = 0
    learning: list[list[float]] = field(default_factory=list)
    stopping: list[list[float]] = field(default_factory=list)

    @classmethod
    def new(cls, stack: Stack, heads: int) -> "State":
        """Before the first epoch."""
        first, second = ([tensor.new_zeros(tensor.shape) for pair in stack for tensor in pair] for _ in range(2))
        best = [(weight.clone(), bias.clone()) for weight, bias in stack]
        return cls(stack, first, second, best, np.arange(heads), np.full(heads, np.inf), np.zeros(heads, np.int64))

    def follow(self, flat: Sequence[Any], first: list[Any], second: list[Any]) -> None:
        """Look at the tensors that are being trained."""
        plain = [tensor.detach() for tensor in flat]
        self.stack = list(zip(plain[::2], plain[1::2], strict=True))
        self.first, self.second = first, second

    def end_epoch(self, learnt: Float64Array, lost: Float64Array, patience: int) -> None:
        """Count an epoch, of whose heads these are the losses; keep what is best, and let go of what has ended."""
        self.epoch += 1
        heads = len(self.best_loss)
        for curve, values in ((self.learning, learnt), (self.stopping, lost)):
            row = np.full(heads, np.nan)
            row[self.active] = values
            curve.append(row.tolist())
        better = lost < self.best_loss[self.active]
        at = self.active[better]
        self.best_loss[at], self.best_epoch[at] = lost[better], self.epoch
        for best, now in zip(self.best, self.stack, strict=True):
            for kept, tensor in zip(best, now, strict=True):
                kept[at] = tensor[np.flatnonzero(better)].to(kept.device)
        going = self.epoch - self.best_epoch[self.active] < patience
        if not going.all():
            left = np.flatnonzero(going)
            self.active = self.active[left]
            self.stack = [(weight[left], bias[left]) for weight, bias in self.stack]
            self.first, self.second = [t[left] for t in self.first], [t[left] for t in self.second]

    def _tensors(self) -> dict[str, Any]:
        named = dict(zip(_PARTS[1:3], (self.first, self.second), strict=True))
        for part, stack in (("stack", self.stack), ("best", self.best)):
            named[part] = [tensor for pair in stack for tensor in pair]
        return {f"{part}.{i}": tensor for part in _PARTS for i, tensor in enumerate(named[part])}


def write_state(path: Path, state: State, fingerprint: str) -> None:
    """Write the state; the file of the epoch before stays until this one is whole. Raises CheckpointError."""
    doc = {
        "fingerprint": fingerprint,
        "active": state.active.tolist(),
        "best_loss": state.best_loss.tolist(),
        "best_epoch": state.best_epoch.tolist(),
        "epoch": state.epoch,
        "learning": state.learning,
        "stopping": state.stopping,
    }
    entries = [Entry(name, tuple(tensor.shape), partial(_values, tensor)) for name, tensor in state._tensors().items()]
    write_safetensors(path, entries, {_KEY: json.dumps(doc)})


def _values(tensor: Any) -> list[Any]:
    return [tensor.cpu().numpy()]


def read_state(path: Path, fingerprint: str) -> State | None:
    """The state of a training, or None where there is no file.

    Raises OptionError where it is of another training, and CheckpointError where it is damaged.
    """
    if not path.exists():
        return None
    torch = need("torch", PURPOSE)
    file = SafetensorsFile(path)
    try:
        doc = json.loads(file.metadata[_KEY])
        came, wanted = json.loads(doc["fingerprint"]), json.loads(fingerprint)
        differ = sorted(name for name in {*came, *wanted} if came.get(name) != wanted.get(name))
        if differ:
            words = ", ".join(f"{n} ({_short(came.get(n))} then, {_short(wanted.get(n))} now)" for n in differ[:4])
            raise OptionError(
                f"{path} is what is done of another training: {words}. Give the same data and settings to go on, or "
                "remove the file to begin anew"
            )
        parts = {part: _part(torch, file, part) for part in _PARTS}
        state = State(
            list(zip(parts["stack"][::2], parts["stack"][1::2], strict=True)),
            parts["first"],
            parts["second"],
            list(zip(parts["best"][::2], parts["best"][1::2], strict=True)),
            np.array(doc["active"], np.int64),
            np.array(doc["best_loss"], np.float64),
            np.array(doc["best_epoch"], np.int64),
            int(doc["epoch"]),
            doc["learning"],
            doc["stopping"],
        )
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, OptionError):
            raise
        raise CheckpointError(f"{path} is not the state of a training ({error}). Remove it to begin anew.") from None
    return state


def _part(torch: Any, file: SafetensorsFile, part: str) -> list[Any]:
    names = [f"{part}.{i}" for i in range(sum(name.startswith(f"{part}.") for name in file.infos))]
    return [torch.from_numpy(np.array(file.array(name), np.float32)) for name in names]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"

"""The training itself: epochs over shuffled rows, one AdamW for all heads, each head with its own end and best weights.

The schedule is a rise over the first twentieth of the steps, then half a cosine down to 0 (Loshchilov and Hutter 2017;
AdamW: 2019). The sum of all heads' losses is differentiated; as no weight belongs to two heads, each head learns as if
it were alone. A head that has not become better for `patience` epochs leaves the stack, and costs nothing more.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint.heads import Layers, widths_of
from ..errors import OptionError
from ..evaluate.result import Table
from ..optional import need
from ..records import Float64Array
from .losses import Link, head_losses
from .settings import LAYOUTS, Examples, Training
from .stack import PURPOSE, Stack, Standard, draw_masks, forward, from_layers, new_stack, scores_of, to_layers
from .state import State, read_state, write_state

Step = Callable[[int, int, str], None]  # (steps done, steps in all, words)
_RISE = 0.05
_KEPT_RATE = 1 / 3  # of the layout's rate, for heads that go on from others
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Trained:
    """Heads that are done.

    Args:
        heads: by name: the layers of the best epoch, which take plain embeddings and give plain scores.
        best: by name, the epoch (from 1) that they are of; 0 where none was better than the head that came.
        learning: [E, H] mean loss of each epoch on the rows it learnt from, with dropout; NaN after a head's end.
        stopping: [E, H] loss on the stopping part, likewise. Losses are those of standardised labels for mae and mse,
            so divided by the spread (or its square) they would be of the labels; here they are on the labels' scale.
        facts: what was done, for people.
        tables: of what was chosen, for people.
        notes: what a reader must know.
    """

    heads: dict[str, Layers]
    best: dict[str, int]
    learning: Float64Array
    stopping: Float64Array
    facts: dict[str, str]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def train(
    examples: Examples,
    how: Training,
    *,
    init: Sequence[Layers] | None = None,
    state: Path | None = None,
    step: Step = lambda done, total, words: None,
) -> Trained:
    """Train heads on a part of the rows until each is best on another part.

    The same examples, settings and number of threads on one machine give the same heads, interrupted or not.

    Args:
        examples: the rows.
        how: settings.
        init: layers of each head to go on from, in the order of the names.
        state: a file that holds what is done, after each epoch; one that is there is gone on from.
        step: called after each step.

    Raises:
        DataError: see Examples.check.
        OptionError: the state is of another training, or the first heads are of another layout or width.
        MissingPackageError: without PyTorch (extra `reference`).
    """
    examples.check(how.loss)
    return _Course(examples, how, init, state, step).heads()


class _Course:
    def __init__(
        self, examples: Examples, how: Training, init: Sequence[Layers] | None, state: Path | None, step: Step
    ) -> None:
        self._torch = need("torch", PURPOSE)
        self._examples, self._how, self._path, self._step = examples, how, state, step
        rows = len(examples.training)
        self._batch, self._epochs = how.batch_of(rows), how.epochs_of(rows)
        self._steps = math.ceil(rows / self._batch)
        self._layout = LAYOUTS[how.layout]
        self._rate = how.learning_rate or self._layout.learning_rate * (_KEPT_RATE if init else 1.0)
        self._widths = (examples.values.shape[1], *self._layout.hidden, 1)
        self._standard = _standard(examples, how.loss, init is not None)
        self._link = _link(examples, how.loss, init)
        if self._link is not None:
            self._link = self._link.standardised(self._standard)
        self._bf16 = how.precision == "bf16" or (how.precision == "auto" and _fast_bf16(how.device))
        self._fingerprint = _fingerprint(examples, how, init) if state is not None else ""
        self._state = self._first_state(init)

    def _first_state(self, init: Sequence[Layers] | None) -> State:
        found = read_state(self._path, self._fingerprint) if self._path is not None else None
        if found is not None:
            return found
        heads = len(self._examples.names)
        if init is not None:
            if widths_of(init[0]) != self._widths:
                came, wanted = ("-".join(map(str, w)) for w in (widths_of(init[0]), self._widths))
                raise OptionError(f"the heads to go on from have widths {came}; expected {wanted}. Choose their layout")
            stack = from_layers(init, self._standard)
            state = State.new(stack, heads)
            there = [(weight.to(self._how.device), bias.to(self._how.device)) for weight, bias in stack]
            state.best_loss = self._lost(there, state.active)  # a head that only gets worse stays as it came
            return state
        return State.new(new_stack(heads, self._widths, self._how.seed), heads)

    def heads(self) -> Trained:
        state = self._state
        total = self._epochs * self._steps
        self._load()
        while state.epoch < self._epochs and len(state.active):
            learnt = self._learn(total)
            lost = self._lost(state.stack, state.active)
            state.end_epoch(learnt, lost, self._how.patience)
            self._load()
            if self._path is not None:
                write_state(self._path, state, self._fingerprint)
        unit = self._units()
        names = self._examples.names
        return Trained(
            to_layers(state.best, names, self._standard),
            dict(zip(names, state.best_epoch.tolist(), strict=True)),
            np.array(state.learning) * unit,
            np.array(state.stopping) * unit,
            self._facts(),
        )

    def _load(self) -> None:
        """Give the heads that go on, and AdamW's figures of them, to PyTorch."""
        torch, state = self._torch, self._state
        device = self._how.device
        flat = [tensor.to(device).requires_grad_() for pair in state.stack for tensor in pair]
        self._parameters: Stack = list(zip(flat[::2], flat[1::2], strict=True))
        self._adam = torch.optim.AdamW(flat, lr=self._rate, weight_decay=self._how.weight_decay, fused=True)
        for tensor, first, second in zip(flat, state.first, state.second, strict=True):
            self._adam.state[tensor] = {
                "step": torch.tensor(float(state.epoch * self._steps)),
                "exp_avg": first.to(device),
                "exp_avg_sq": second.to(device),
            }
        state.follow(
            flat, [self._adam.state[t]["exp_avg"] for t in flat], [self._adam.state[t]["exp_avg_sq"] for t in flat]
        )

    def _learn(self, total: int) -> Float64Array:
        """One epoch. Returns the mean loss of each head that goes on."""
        torch, state = self._torch, self._state
        generator = torch.Generator().manual_seed((self._how.seed * 1_000_003 + state.epoch + 1) % 2**63)
        rows = self._examples.training
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
        sums, weights = np.zeros(len(state.active)), np.zeros(len(state.active))
        for i in range(self._steps):
            done = state.epoch * self._steps + i
            for group in self._adam.param_groups:
                group["lr"] = self._rate * _schedule((done + 0.5) / total)
            chosen = np.sort(order[i * self._batch : (i + 1) * self._batch])
            x, targets, counted = self._rows(chosen, state.active)
            masks = draw_masks(self._parameters, len(chosen), self._layout.dropout, generator)
            masks = [mask.to(self._how.device) for mask in masks]
            with self._products():
                scores = forward(self._parameters, x, masks)
            losses = head_losses(self._how.loss, scores.float(), targets, counted, state.active, self._link)
            self._adam.zero_grad(set_to_none=True)
            losses.sum().backward()
            self._adam.step()
            share = counted.sum(dim=1).double().cpu().numpy()
            sums += losses.detach().double().cpu().numpy() * share
            weights += share
            self._step(done + 1, total, f"{len(state.active)} heads, loss {sums.sum() / max(weights.sum(), 1e-12):.4f}")
        return sums / np.maximum(weights, 1e-12)

    def _lost(self, stack: Stack, active: Any) -> Float64Array:
        """[h] mean losses on the stopping part, without dropout, in float32."""
        torch = self._torch
        sums, weights = np.zeros(len(active)), np.zeros(len(active))
        with torch.inference_mode():
            for start in range(0, len(self._examples.stopping), _BLOCK):
                x, targets, counted = self._rows(self._examples.stopping[start : start + _BLOCK], active)
                losses = head_losses(self._how.loss, forward(stack, x), targets, counted, active, self._link)
                share = counted.sum(dim=1).double().cpu().numpy()
                sums += losses.double().cpu().numpy() * share
                weights += share
        return sums / weights

    def _rows(self, rows: Any, active: Any) -> tuple[Any, Any, Any]:
        """Standardised inputs [B, width], labels and weights [h, B] on the device; labels are 0 where there is none."""
        torch, standard = self._torch, self._standard
        x = torch.from_numpy(self._examples.values[rows])
        x = (x - torch.from_numpy(standard.centre.astype(np.float32))).mul_(standard.gain)
        targets = self._examples.targets[np.ix_(rows, active)].astype(np.float64)
        known = ~np.isnan(targets)
        targets = np.where(known, (targets - standard.shift[active]) / standard.spread[active], 0.0)
        weights = np.where(known, self._examples.weights[np.ix_(rows, active)], 0.0)
        y, w = (torch.from_numpy(np.ascontiguousarray(a.T, np.float32)) for a in (targets, weights))
        return tuple(t.to(self._how.device) for t in (x, y, w))

    def _products(self) -> Any:
        kind = self._how.device.partition(":")[0]
        return self._torch.autocast(kind, self._torch.bfloat16) if self._bf16 else nullcontext()

    def _units(self) -> Float64Array | float:
        """What makes losses those of the labels' scale."""
        spread = self._standard.spread
        return spread if self._how.loss == "mae" else spread**2 if self._how.loss == "mse" else 1.0

    def _facts(self) -> dict[str, str]:
        threads = self._torch.get_num_threads()
        return {
            "layout": f"{self._how.layout}: {'-'.join(map(str, self._widths))}, dropout {self._layout.dropout:g}",
            "loss": self._how.loss,
            "epochs": f"{self._state.epoch} of at most {self._epochs}, {self._steps} steps of {self._batch} rows each",
            "optimiser": f"AdamW, highest rate {self._rate:g}, weight decay {self._how.weight_decay:g}",
            "seed": str(self._how.seed),
            "products": "bf16, weights and sums in float32" if self._bf16 else "float32",
            "computed by": f"PyTorch {self._torch.__version__} on {self._how.device}, {threads} threads",
        }


def _schedule(part: float) -> float:
    """The rate at a part of all steps, of the highest."""
    return part / _RISE if part < _RISE else 0.5 * (1 + math.cos(math.pi * (part - _RISE) / (1 - _RISE)))


def _standard(examples: Examples, loss: str, go_on: bool) -> Standard:
    rows = examples.training
    centre = np.zeros(examples.values.shape[1])
    square = 0.0
    for start in range(0, len(rows), _BLOCK):
        block = examples.values[rows[start : start + _BLOCK]].astype(np.float64)
        centre += block.sum(axis=0)
        square += float((block * block).sum())
    centre /= len(rows)
    variance = max(square / len(rows) - float(centre @ centre), 1e-12) / len(centre)
    heads = len(examples.names)
    if loss == "bce":
        return Standard(centre, variance**-0.5, np.zeros(heads), np.ones(heads))
    shift, spread = np.zeros(heads), np.ones(heads)
    for h in range(heads):
        labels = examples.targets[rows, h].astype(np.float64)
        weights = np.where(np.isnan(labels), 0.0, examples.weights[rows, h])
        known = weights > 0
        shift[h] = np.average(labels[known], weights=weights[known])
        spread[h] = math.sqrt(float(np.average((labels[known] - shift[h]) ** 2, weights=weights[known])))
    return Standard(centre, variance**-0.5, shift, np.maximum(spread, 1e-6))


def _link(examples: Examples, loss: str, init: Sequence[Layers] | None) -> Link | None:
    scales = np.array(examples.scales, np.float64)
    if loss == "ordinal":
        return Link.ordinal(scales)
    if loss != "bce":
        return None
    link = Link.yes_no(scales)
    if init is None:
        return link
    rows = examples.training[:50_000]
    scores = scores_of({str(i): head for i, head in enumerate(init)}, examples.values[rows])
    targets = examples.targets[rows].astype(np.float64)
    weights = np.where(np.isnan(targets), 0.0, examples.weights[rows])
    return link.fitted(scores.astype(np.float64), targets, weights)


def _fast_bf16(device: str) -> bool:
    """Whether products of bf16 are the faster ones."""
    torch = need("torch", PURPOSE)
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def _fingerprint(examples: Examples, how: Training, init: Sequence[Layers] | None) -> str:
    """What decides the heads, as JSON: settings in words, data by their hash."""
    torch = need("torch", PURPOSE)
    data = hashlib.sha256()
    for array in (examples.values, examples.targets, examples.weights, examples.training, examples.stopping):
        data.update(np.ascontiguousarray(array).view(np.uint8).data)
    first = hashlib.sha256()
    for head in init or ():
        for pair in head:
            for tensor in pair:
                first.update(np.ascontiguousarray(tensor).view(np.uint8).data)
    facts = asdict(how) | {
        "heads": list(examples.names),
        "scales": [list(scale) for scale in examples.scales],
        "data": data.hexdigest(),
        "init": first.hexdigest() if init else None,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    return json.dumps(facts, sort_keys=True)

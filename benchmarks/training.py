"""How long it takes to train heads, and how near they come to a hidden teacher: time, processor time, memory, Spearman.

    python -m benchmarks.training [--layout small] [--rows 200000] [--heads 40] [--noise 1.0] [--precision fp32 bf16]
                                  [--epochs N] [--steps N] [--threads N] [--clean]

Embeddings are drawn: a Gaussian whose variances fall as those of real embeddings do (1 / k), with a mean as long as
the rest, divided by their norm. Each head's teacher is an MLP of 64 hidden numbers, whose answers lie on 0..7; an
annotator's label is the answer plus normal noise, rounded to a level. Spearman is that of held-out scores with the
teacher's answers before the noise, and the error is the mean absolute one. --clean trains on those, too: what the
same network reaches without noise. Precisions are compared head by head, beside what another seed changes. --steps
ends after so many steps and says what all of them would take.
"""

import argparse
import os
import resource
import time

import numpy as np

from emonet_fast.evaluate.metrics import spearman
from emonet_fast.training import Examples, Training, train
from emonet_fast.training.stack import scores_of

WIDTH, HIDDEN, BLOCK = 1152, 64, 8192


def embeddings(rows: int, rng: np.random.Generator) -> np.ndarray:
    """[rows, WIDTH] float32 of norm 1."""
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    deviation = (1 / np.arange(1, WIDTH + 1)) ** 0.5
    mean = rng.standard_normal(WIDTH).astype(np.float32)
    mean *= np.linalg.norm(deviation) / np.linalg.norm(mean)
    out = np.empty((rows, WIDTH), np.float32)
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        drawn = rng.standard_normal((n, WIDTH), np.float32) * deviation.astype(np.float32)
        block = drawn @ turn + mean
        out[start : start + n] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return out


def answers(values: np.ndarray, heads: int, rng: np.random.Generator) -> np.ndarray:
    """[rows, heads] float32 of the teachers, within 0..7."""
    sample = values[:20_000].astype(np.float64)
    centre, gain = sample.mean(axis=0).astype(np.float32), np.float32(1 / sample.std(axis=0).mean())
    first = rng.standard_normal((WIDTH, heads * HIDDEN), np.float32) / np.float32(WIDTH**0.5)
    last = rng.standard_normal((heads, HIDDEN)).astype(np.float32)
    out = np.empty((len(values), heads), np.float32)
    for start in range(0, len(values), BLOCK):
        inner = np.maximum((values[start : start + BLOCK] - centre) * gain @ first, 0)
        out[start : start + BLOCK] = np.einsum("nhk,hk->nh", inner.reshape(-1, heads, HIDDEN), last)
    out = (out - out.mean(axis=0)) / out.std(axis=0)
    return np.asarray(3.5 + 3.5 * np.tanh(0.6 * out), np.float32)


class EnoughError(Exception):
    """All steps that were asked for are done."""


def run(name: str, truth: np.ndarray, examples: Examples, how: Training, steps: int | None) -> np.ndarray | None:
    """Train, and print a row. Returns [2, heads] Spearman and mean absolute error of held-out rows to the truth."""
    began, used = time.perf_counter(), time.process_time()
    said, first = [began], [began, used]

    def step(done: int, total: int, words: str) -> None:
        now, cost = time.perf_counter(), time.process_time()
        if done == 1:
            first[:] = now, cost
        if now - said[0] > 30:
            said[0] = now
            print(f"  {done} of {total} steps, {cost - used:.0f} s of processor, {words}", flush=True)
        if done == steps:
            each, costs = ((b - a) / (done - 1) for a, b in zip(first, (now, cost), strict=True))
            print(f"{name}: {each:.3f} s a step and {costs:.3f} s of processor; all {total}: {each * total:.0f} s")
            raise EnoughError

    try:
        trained = train(examples, how, step=step)
    except EnoughError:
        return None
    took, cost = time.perf_counter() - began, time.process_time() - used
    rows = examples.stopping
    scores = scores_of(trained.heads, examples.values[rows]).astype(np.float64)
    answers = truth[rows].astype(np.float64)
    rho = [spearman(scores[:, h], answers[:, h]) for h in range(truth.shape[1])]
    figures = np.array([rho, np.abs(scores - answers).mean(axis=0)])
    print(*(f"  {key}: {value}" for key, value in trained.facts.items()), sep="\n")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{name}: {took:.0f} s, {cost:.0f} s of processor, at most {memory:.2f} GB, Spearman with the teacher "
        f"{figures[0].mean():.4f}, error {figures[1].mean():.4f}, best epochs {min(trained.best.values())} to "
        f"{max(trained.best.values())}",
        flush=True,
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", default="small")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--precision", nargs="+", default=["auto"])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clean", action="store_true")
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(asked.threads)
    rng = np.random.default_rng(0)
    values = embeddings(asked.rows, rng)
    truth = answers(values, asked.heads, rng)
    labels = np.clip(np.rint(truth + asked.noise * rng.standard_normal(truth.shape, np.float32)), 0, 7)
    order = rng.permutation(asked.rows)
    parts = np.split(order, [int(0.9 * asked.rows)])
    names = tuple(f"head {h}" for h in range(asked.heads))
    for name, targets in (("noisy", labels), ("clean", truth))[: 1 + asked.clean]:
        scales = ((0.0, 7.0),) * asked.heads
        examples = Examples(values, targets, np.ones_like(targets), names, scales, *map(np.sort, parts))
        runs = [(precision, 0) for precision in asked.precision]
        runs += [(asked.precision[0], 1)] * (len(runs) > 1)
        found = []
        for precision, seed in runs:
            how = Training(layout=asked.layout, precision=precision, epochs=asked.epochs, seed=seed)
            found.append(run(f"{name}, {precision}, seed {seed}", truth, examples, how, asked.steps))
        for (precision, seed), figures in zip(runs[1:], found[1:], strict=True):
            if figures is not None and found[0] is not None:
                rho, error = figures - found[0]
                print(
                    f"{name}, {precision} of seed {seed} less {runs[0][0]} of seed 0: Spearman {rho.mean():+.4f} "
                    f"({rho.min():+.4f} to {rho.max():+.4f}), error {error.mean():+.4f} ({error.min():+.4f} to "
                    f"{error.max():+.4f})"
                )


if __name__ == "__main__":
    main()

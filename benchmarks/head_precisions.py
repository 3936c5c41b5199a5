"""Heads in float32, bf16 and int8 by OpenVINO: rows a second by batch, and how far scores move. `auto` keeps float32.

    python -m benchmarks.head_precisions [--layout large] [--ways fp32 bf16 int8 int8+bf16] [--batches 256 1024 2048]

40 random heads of the published widths score drawn embeddings. int8: weights by output channel, inputs by the largest
number of 1024 other rows (the first signed, those behind ReLU from 0), the last layer in float. Random heads tell
their rows apart by little, so errors over the spread of a head's scores are larger than trained ones would have.
"""

import argparse
import time
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import measurements
from emonet_fast.engines.fidelity import spearman
from emonet_fast.optional import import_openvino

HEADS, WIDTHS = 40, {"large": (1152, 1024, 512, 256, 1), "small": (1152, 128, 32, 1)}
KNOWN, ROWS, SECONDS = 1024, 4096, 3.0


class Heads:
    """Random heads, embeddings, and what float32 gives for all rows but the first KNOWN."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self.widths = widths
        self.weights = [
            rng.standard_normal((HEADS, b, a), np.float32) * np.float32((2 / a) ** 0.5) for a, b in pairwise(widths)
        ]
        self.biases = [rng.standard_normal((HEADS, 1, b), np.float32) * np.float32(0.1) for b in widths[1:]]
        spread = (1 / np.arange(1, widths[0] + 1)) ** 0.5
        turn = np.linalg.qr(rng.standard_normal((widths[0], widths[0])))[0]
        values = (rng.standard_normal((ROWS, widths[0])) * spread) @ turn + rng.standard_normal(widths[0]) * 0.2
        self.values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
        self.largest = [float(np.abs(self.values[:KNOWN]).max())]
        hidden = self.values[None]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if i:
                hidden = np.maximum(hidden, 0)
                self.largest.append(float(hidden[:, :KNOWN].max()))
            hidden = np.matmul(hidden, weight.transpose(0, 2, 1)) + bias
        self.truth = hidden[:, KNOWN:, 0].T

    def model(self, rows: int, int8: bool) -> Any:
        """OpenVINO's model from [rows, width] to [rows, HEADS]; with Q/DQ where int8 is asked for."""
        ov, op = import_openvino(), import_openvino().opset13

        def weight(values: Any) -> Any:
            if not int8 or values.shape[-2] == 1:
                return op.constant(values)
            scale = np.abs(values).max(axis=-1, keepdims=True) / 127
            codes = op.convert(op.constant(np.rint(values / scale).astype(np.int8)), "f32")
            return op.multiply(codes, op.constant(scale.astype(np.float32)))

        def shape(*sizes: int) -> Any:
            return op.constant(np.array(sizes, np.int64))

        given = op.parameter([rows, self.widths[0]], np.float32, name="embedding")
        x = given
        for i, (values, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if int8:
                high = np.float32(self.largest[i])
                low = np.float32(0) if i else -high * np.float32(128 / 127)
                x = op.fake_quantize(x, low, high, low, high, 256)
            if i == 0:  # one product, as all heads have the same input
                x = op.matmul(x, weight(values.reshape(-1, self.widths[0])), False, True)
                x = op.relu(op.add(x, op.constant(bias.reshape(1, -1))))
                x = op.transpose(op.reshape(x, shape(rows, HEADS, self.widths[1]), False), shape(1, 0, 2))
                continue
            x = op.add(op.matmul(x, weight(values), False, True), op.constant(bias))
            x = op.relu(x) if i < len(self.weights) - 1 else x
        return ov.Model([op.reshape(op.transpose(x, shape(1, 0, 2)), shape(rows, HEADS), False)], [given])


def measure(heads: Heads, way: str, rows: int) -> dict[str, float]:
    """Rows a second, and the errors of the scores by their spread in float32, over heads."""
    options = {"INFERENCE_PRECISION_HINT": "bf16" if "bf16" in way else "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = import_openvino().Core().compile_model(heads.model(rows, "int8" in way), "CPU", options)
    request = request.create_infer_request()
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS or len(times) < 3:
        start = time.perf_counter()
        request.infer([heads.values[:rows]])
        times.append(time.perf_counter() - start)
    starts = range(KNOWN, ROWS - rows + 1, rows)
    found = np.concatenate([request.infer([heads.values[i : i + rows]])[0].copy() for i in starts])
    truth = heads.truth[: len(found)]
    error = np.sqrt(((found - truth) ** 2).mean(axis=0)) / truth.std(axis=0)
    order = [spearman(found[:, h].astype(np.float64), truth[:, h].astype(np.float64)) for h in range(HEADS)]
    return {
        "rows_a_second": round(rows / float(np.median(times))),
        "best_rows_a_second": round(rows / min(times)),
        "rms_over_spread": round(float(error.mean()), 4),
        "largest_rms_over_spread": round(float(error.max()), 4),
        "least_spearman": round(float(min(order)), 4),
        "same_strongest": round(float((found.argmax(axis=1) == truth.argmax(axis=1)).mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=WIDTHS, default="large")
    parser.add_argument("--ways", nargs="+", default=["fp32", "bf16", "int8", "int8+bf16"])
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 2048])
    parser.add_argument("--keep", action="store_true", help="write the figures into results/measurements.jsonl")
    asked = parser.parse_args()
    heads = Heads(WIDTHS[asked.layout])
    figures = {}
    for way in asked.ways:
        for rows in asked.batches:
            figures[f"{asked.layout}, {way}, {rows}"] = found = measure(heads, way, rows)
            print(f"{way}, batches of {rows}:", *(f"{key} {value:,}" for key, value in found.items()), flush=True)
    if asked.keep:
        measurements.keep("head_precisions", figures)


if __name__ == "__main__":
    main()

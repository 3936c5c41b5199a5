"""An engine of three batch sizes on the fakes, what it computes, and one way through it."""

import numpy as np

ROW, WIDTHS = (3, 8, 8), (4, 2)
LINES = [
    "size 1",
    "size 4",
    "size 16",
    "input pixels uint8 3 8 8",
    "output embedding float32 4",
    "output raw float32 2",
]
BLOB = "\n".join(["fake-engine", *LINES, ""]).encode()


class Bench:
    """An engine on the fake device, and one way to run a batch from the host and back."""

    def __init__(self, fakes, blob=BLOB, sink=None):
        self.fakes, self.module = fakes, fakes.extension
        self.device = self.module.Device(self.module.Cuda([fakes.driver]), 0)
        self.tensorrt = self.module.TensorRt([fakes.nvinfer], [fakes.parser])
        self.engine = self.module.Engine(self.tensorrt, self.device, blob, sink)

    def run(self, pixels, stream=None, place=None):
        """pixels [n, ...] -> outputs. place: another way to hand them over than by address."""
        stream = stream or self.module.Stream(self.device)
        array = self.device.array(pixels.shape, "uint8")
        self.device.upload(array, pixels, stream.handle)
        given = place(array, stream.handle) if place else array
        outputs = [self.device.array((len(pixels), width), "float32") for width in WIDTHS]
        self.engine.run(given.address, len(pixels), [o.address for o in outputs], stream.handle)
        host = [np.zeros((len(pixels), width), np.float32) for width in WIDTHS]
        for to, source in zip(host, outputs, strict=True):
            self.device.download(to, source, stream.handle)
        stream.synchronize()
        return host


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *ROW), dtype=np.uint8)


def expected(pixels):
    total = pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.float64)[:, None] / 255
    return [total + np.arange(width) + 1000 * i for i, width in enumerate(WIDTHS)]


def check(found, pixels):
    for got, want in zip(found, expected(pixels), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)

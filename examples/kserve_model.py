"""A KServe predictor of an exported model, by ONNX Runtime and without this package (pip install kserve onnxruntime).

python kserve_model.py emonet.onnx --model_name emonet

It takes the request that docs/recipes.md shows, at http://127.0.0.1:8080/v2/models/emonet/infer.
"""

import argparse

import kserve
import onnxruntime


class Scores(kserve.Model):
    """Pixels [N, S, S, 3] uint8 in, what the model gives out."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.ready = True

    def predict(
        self, payload: kserve.InferRequest, headers: object = None, response_headers: object = None
    ) -> kserve.InferResponse:
        names = [output.name for output in payload.request_outputs or self.session.get_outputs()]
        outputs = []
        for name, values in zip(names, self.session.run(names, {"pixels": payload.inputs[0].as_numpy()}), strict=True):
            outputs.append(kserve.InferOutput(name, list(values.shape), "FP32", values))
        asked_by = payload.id or kserve.utils.generate_uuid()  # the protocol lets it out, KServe's answer does not
        return kserve.InferResponse(asked_by, self.name, outputs, requested_outputs=payload.request_outputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve an exported model.", parents=[kserve.model_server.parser])
    parser.add_argument("model")
    arguments = parser.parse_args()
    kserve.ModelServer().start([Scores(arguments.model_name, arguments.model)])

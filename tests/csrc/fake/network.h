// What the fake parser has read of an ONNX file and the fake builder writes into its engine.
#pragma once

#include <string>
#include <vector>

#include "NvInfer.h"

namespace fake {

struct Value {
    std::string name, dtype;
    bool input = false;
    std::vector<std::int64_t> row;  // shape without the batch
};

class Network final : public nvinfer1::INetworkDefinition {
  public:
    std::int32_t getNbInputs() const noexcept override {
        std::int32_t sum = 0;
        for (const Value& value : values) sum += value.input ? 1 : 0;
        return sum;
    }
    nvinfer1::ITensor* getInput(std::int32_t) const noexcept override { return &input_; }

    std::vector<Value> values;
    std::string layers = R"({"Layers": []})";

  private:
    struct Input final : nvinfer1::ITensor {
        explicit Input(const Network& network) : network_(network) {}
        const char* getName() const noexcept override { return network_.values.front().name.c_str(); }
        nvinfer1::Dims getDimensions() const noexcept override {
            nvinfer1::Dims dims{};
            dims.d[0] = -1;
            dims.nbDims = 1;
            for (const std::int64_t size : network_.values.front().row) dims.d[dims.nbDims++] = size;
            return dims;
        }
        const Network& network_;
    };
    mutable Input input_{*this};
};

}  // namespace fake

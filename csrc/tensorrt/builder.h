// Compiles an ONNX file to a serialised engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda.h"
#include "logger.h"

namespace emonet {

// Called with (phase, steps done, steps in all). It returns false to ask TensorRT to stop.
using BuildProgress = std::function<bool(const std::string&, int, int)>;

struct BuildOrder {
    std::string onnx;                       // path; external data lies beside it
    std::vector<std::int64_t> batch_sizes;  // one optimisation profile each
    std::string timing_cache;               // of an earlier build, or ""
};

struct Built {
    std::string engine;
    std::string timing_cache;
};

// Throws Error when the ONNX file cannot be parsed (with every parser error), TensorRT finds no engine, or it was asked
// to stop.
Built build(const TensorRt& tensorrt, const Device& device, Logger& logger, const BuildOrder& order,
            const BuildProgress& progress);

}  // namespace emonet

// ONNX file to serialised engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cuda.h"
#include "logger.h"

namespace emonet {

// Told (phase, steps done, steps in all); false asks TensorRT to stop.
using Progress = std::function<bool(const std::string&, int, int)>;

struct BuildOrder {
    std::string onnx;                       // path; external data lies beside it
    std::vector<std::int64_t> batch_sizes;  // one optimisation profile each
    std::string timing_cache;               // of an earlier build, or ""
    std::size_t workspace = 0;              // bytes a layer may use, 0 for TensorRT's own limit
    int level = 3;                          // TensorRT's builder optimisation level, 0 to 5
};

struct Built {
    std::string engine;
    std::string timing_cache;
};

// Throws Error: the ONNX file cannot be parsed (every parser error), or TensorRT finds no engine, or was asked to stop.
Built build(const TensorRt& tensorrt, const Device& device, Logger& logger, const BuildOrder& order,
            const Progress& progress);

}  // namespace emonet

// A stand-in for the header of TensorRT's ONNX parser; see NvInfer.h beside it.
#pragma once

#include "NvInfer.h"

#define NV_ONNX_PARSER_VERSION 1

namespace nvonnxparser {

class IParserError {
  public:
    virtual const char* desc() const = 0;
    virtual ~IParserError() = default;
};

class IParser {
  public:
    virtual bool parseFromFile(const char* path, int verbosity) noexcept = 0;
    virtual int getNbErrors() const noexcept = 0;
    virtual const IParserError* getError(int index) const noexcept = 0;
    virtual ~IParser() noexcept = default;
};

}  // namespace nvonnxparser

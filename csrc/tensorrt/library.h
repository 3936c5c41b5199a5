// Shared libraries opened at run time, so that this extension loads on machines without them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "version.h"

namespace emonet {

// One library. Once opened it stays in the process, since TensorRT and CUDA keep threads and callbacks.
class SharedLibrary {
  public:
    // Opens the first of `candidates` (paths or plain names) that can be opened. Throws Error, with every reason, when
    // none can.
    SharedLibrary(const std::string& what, const std::vector<std::string>& candidates);

    const std::string& path() const { return path_; }
    // The symbol, or nullptr.
    void* find(const char* name) const;
    // The symbol as a function. Throws Error when the library lacks it.
    template <typename Function>
    Function need(const char* name) const {
        return reinterpret_cast<Function>(need_symbol(name));
    }

  private:
    void* need_symbol(const char* name) const;

    std::string path_;
    void* handle_ = nullptr;
};

struct Version {
    int major, minor, patch;
};

// libnvinfer and, where it is there, the ONNX parser. The lean runtime will do, too, but it cannot build.
class TensorRt {
  public:
    // Throws Error when no candidate opens, or the library has another major version than the headers, or one below
    // 10.13.
    TensorRt(const std::vector<std::string>& nvinfer, const std::vector<std::string>& parser);

    Version version() const { return version_; }
    const std::string& path() const { return nvinfer_.path(); }
    // Why it cannot build; "" where it can.
    const std::string& build_fault() const { return build_fault_; }

    // Each throws Error when TensorRT returns nothing.
    std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::ILogger& logger) const;
    std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::ILogger& logger) const;
    std::unique_ptr<nvonnxparser::IParser> parser(nvinfer1::INetworkDefinition& network,
                                                  nvinfer1::ILogger& logger) const;

  private:
    using Create = void* (*)(void*, std::int32_t);
    using CreateParser = void* (*)(void*, void*, int);

    SharedLibrary nvinfer_;
    std::unique_ptr<SharedLibrary> parser_;
    Version version_{};
    Create create_runtime_ = nullptr;
    Create create_builder_ = nullptr;
    CreateParser create_parser_ = nullptr;
    std::string build_fault_;
};

}  // namespace emonet

#include "library.h"

#include <dlfcn.h>

#include "error.h"

namespace emonet {

namespace {

std::string last_error() {
    const char* text = dlerror();
    return text != nullptr ? text : "unknown reason";
}

std::string text(Version v) {
    return std::to_string(v.major) + "." + std::to_string(v.minor) + "." + std::to_string(v.patch);
}

}  // namespace

SharedLibrary::SharedLibrary(const std::string& what, const std::vector<std::string>& candidates) {
    std::string tried;
    for (const std::string& name : candidates) {
        handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (handle_ != nullptr) {
            path_ = name;
            return;
        }
        tried += "\n  " + last_error();
    }
    throw Error(what + " could not be opened; tried:" + (tried.empty() ? " nothing" : tried));
}

void* SharedLibrary::find(const char* name) const { return dlsym(handle_, name); }

void* SharedLibrary::need_symbol(const char* name) const {
    void* found = find(name);
    if (found == nullptr) {
        throw Error(path_ + " has no function " + name + "; expected a newer version of this library");
    }
    return found;
}

TensorRt::TensorRt(const std::vector<std::string>& nvinfer, const std::vector<std::string>& parser)
    : nvinfer_("TensorRT (libnvinfer)", nvinfer) {
    using Number = std::int32_t (*)();
    version_ = {nvinfer_.need<Number>("getInferLibMajorVersion")(), nvinfer_.need<Number>("getInferLibMinorVersion")(),
                nvinfer_.need<Number>("getInferLibPatchVersion")()};
    if (version_.major != kHeaderMajor) {
        throw Error(path() + " is TensorRT " + text(version_) + ", but this extension was built with the headers of " +
                    std::to_string(kHeaderMajor) +
                    "; expected the same major version: install that TensorRT, or build the extension again with the "
                    "headers of the installed one");
    }
    if (version_.major == 10 && version_.minor < kLowestMinor10) {
        throw Error(path() + " is TensorRT " + text(version_) + "; expected 10.13 or newer, or 11");
    }
    create_runtime_ = nvinfer_.need<Create>("createInferRuntime_INTERNAL");
    create_builder_ = reinterpret_cast<Create>(nvinfer_.find("createInferBuilder_INTERNAL"));
    if (create_builder_ == nullptr) {
        build_fault_ = path() + " is a runtime without a builder (the lean runtime)";
        return;
    }
    try {
        parser_ = std::make_unique<SharedLibrary>("TensorRT's ONNX parser (libnvonnxparser)", parser);
        create_parser_ = parser_->need<CreateParser>("createNvOnnxParser_INTERNAL");
    } catch (const Error& error) {
        build_fault_ = error.what();
    }
}

std::unique_ptr<nvinfer1::IRuntime> TensorRt::runtime(nvinfer1::ILogger& logger) const {
    auto* made = static_cast<nvinfer1::IRuntime*>(create_runtime_(&logger, kHeaderVersion));
    if (made == nullptr) {
        throw Error("TensorRT " + text(version_) + " could not make a runtime on this machine");
    }
    return std::unique_ptr<nvinfer1::IRuntime>(made);
}

std::unique_ptr<nvinfer1::IBuilder> TensorRt::builder(nvinfer1::ILogger& logger) const {
    if (!build_fault_.empty()) throw Error("this TensorRT cannot build engines: " + build_fault_);
    auto* made = static_cast<nvinfer1::IBuilder*>(create_builder_(&logger, kHeaderVersion));
    if (made == nullptr) {
        throw Error("TensorRT " + text(version_) + " could not make a builder on this machine");
    }
    return std::unique_ptr<nvinfer1::IBuilder>(made);
}

std::unique_ptr<nvonnxparser::IParser> TensorRt::parser(nvinfer1::INetworkDefinition& network,
                                                        nvinfer1::ILogger& logger) const {
    auto* made = static_cast<nvonnxparser::IParser*>(create_parser_(&network, &logger, NV_ONNX_PARSER_VERSION));
    if (made == nullptr) {
        throw Error("TensorRT " + text(version_) + " could not make an ONNX parser");
    }
    return std::unique_ptr<nvonnxparser::IParser>(made);
}

}  // namespace emonet

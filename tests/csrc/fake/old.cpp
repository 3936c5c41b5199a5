// A libnvinfer of TensorRT 10, as far as its version goes.
#include "NvInfer.h"

extern "C" {
std::int32_t getInferLibMajorVersion() { return NV_TENSORRT_MAJOR; }
std::int32_t getInferLibMinorVersion() { return NV_TENSORRT_MINOR; }
std::int32_t getInferLibPatchVersion() { return NV_TENSORRT_PATCH; }
}

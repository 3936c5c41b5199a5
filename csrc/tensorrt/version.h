// Everything that differs between TensorRT 10 and 11, and nothing else. It uses names only, since the enums' numbers
// have moved.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstdint>

namespace emonet {

static_assert(NV_TENSORRT_MAJOR == 11 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR >= 13),
              "emonet-fast is written for TensorRT 10.13 or newer, and 11");

// Networks are strongly typed: by a flag in 10, always in 11, where the flag is deprecated.
inline nvinfer1::NetworkDefinitionCreationFlags network_flags() {
#if NV_TENSORRT_MAJOR < 11
    return 1U << static_cast<std::uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
    return 0U;
#endif
}

// The version of the headers that this was compiled with, which the library's entry points want to know.
constexpr std::int32_t kHeaderVersion = NV_TENSORRT_VERSION;
constexpr std::int32_t kHeaderMajor = NV_TENSORRT_MAJOR;
constexpr std::int32_t kHeaderMinor = NV_TENSORRT_MINOR;
constexpr std::int32_t kLowestMinor10 = 13;

}  // namespace emonet

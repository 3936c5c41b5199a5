// The driver's numbers and types of csrc/tensorrt/cuda.h against CUDA's own header, where that is installed.
#include <cuda.h>  // NVIDIA's; ours is quoted

#include <type_traits>

#include "cuda.h"

static_assert(emonet::kSuccess == CUDA_SUCCESS);
static_assert(emonet::kCapabilityMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(emonet::kCapabilityMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(emonet::kNotReady == CUDA_ERROR_NOT_READY);
static_assert(emonet::kPointerContext == CU_POINTER_ATTRIBUTE_CONTEXT);
static_assert(emonet::kPointerDevice == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL);
static_assert(emonet::kCaptureThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
static_assert(emonet::kStreamNonBlocking == CU_STREAM_NON_BLOCKING);
static_assert(emonet::kEventNoTiming == CU_EVENT_DISABLE_TIMING);
static_assert(std::is_same_v<emonet::Address, CUdeviceptr>);
static_assert(std::is_same_v<emonet::StreamHandle, CUstream>);
static_assert(sizeof(CUdevice) == sizeof(int) && sizeof(CUresult) == sizeof(int));

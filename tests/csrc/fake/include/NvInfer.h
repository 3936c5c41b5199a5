// A stand-in for TensorRT's header: our own declarations of exactly the part that csrc/tensorrt calls.
//
// Names and signatures are those of the real interface, layouts are not: what is compiled with this header works with
// the fake libraries of this folder alone. FAKE_TENSORRT_MAJOR plays 10 or 11.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#ifndef FAKE_TENSORRT_MAJOR
#define FAKE_TENSORRT_MAJOR 11
#endif
#define NV_TENSORRT_MAJOR FAKE_TENSORRT_MAJOR
#define NV_TENSORRT_MINOR 13
#define NV_TENSORRT_PATCH 0
#define NV_TENSORRT_VERSION (NV_TENSORRT_MAJOR * 10000 + NV_TENSORRT_MINOR * 100 + NV_TENSORRT_PATCH)

namespace nvinfer1 {

using AsciiChar = char;

// Values differ from the real ones on purpose: nothing may depend on them.
enum class DataType : std::int32_t { kBF16 = 40, kFLOAT, kHALF, kUINT8, kINT64 };
enum class TensorIOMode : std::int32_t { kNONE = 7, kINPUT, kOUTPUT };
enum class OptProfileSelector : std::int32_t { kMAX = 20, kMIN, kOPT };
enum class ExecutionContextAllocationStrategy : std::int32_t { kUSER_MANAGED = 9, kSTATIC };
enum class LayerInformationFormat : std::int32_t { kJSON = 3, kONELINE };
enum class ProfilingVerbosity : std::int32_t { kDETAILED = 5, kLAYER_NAMES_ONLY };
#if NV_TENSORRT_MAJOR < 11
enum class NetworkDefinitionCreationFlag : std::int32_t { kSTRONGLY_TYPED = 4 };
#endif
using NetworkDefinitionCreationFlags = std::uint32_t;

struct Dims {
    static constexpr std::int32_t MAX_DIMS{8};
    std::int32_t nbDims;
    std::int64_t d[MAX_DIMS];
};

class ILogger {
  public:
    enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR, kWARNING, kINFO, kVERBOSE };
    virtual void log(Severity severity, const AsciiChar* message) noexcept = 0;
    virtual ~ILogger() = default;
};

class Object {
  public:
    virtual ~Object() noexcept = default;
};

class IHostMemory : public Object {
  public:
    virtual void* data() const noexcept = 0;
    virtual std::size_t size() const noexcept = 0;
};

class IEngineInspector : public Object {
  public:
    virtual const char* getEngineInformation(LayerInformationFormat format) const noexcept = 0;
};

class IExecutionContext : public Object {
  public:
    virtual bool setOptimizationProfileAsync(std::int32_t profile, cudaStream_t stream) noexcept = 0;
    virtual void setDeviceMemoryV2(void* memory, std::int64_t size) noexcept = 0;
    virtual bool setInputShape(const char* name, const Dims& dims) noexcept = 0;
    virtual bool setTensorAddress(const char* name, void* data) noexcept = 0;
    virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine : public Object {
  public:
    virtual std::int32_t getNbIOTensors() const noexcept = 0;
    virtual const char* getIOTensorName(std::int32_t index) const noexcept = 0;
    virtual Dims getTensorShape(const char* name) const noexcept = 0;
    virtual DataType getTensorDataType(const char* name) const noexcept = 0;
    virtual TensorIOMode getTensorIOMode(const char* name) const noexcept = 0;
    virtual std::int32_t getNbOptimizationProfiles() const noexcept = 0;
    virtual Dims getProfileShape(const char* name, std::int32_t profile, OptProfileSelector which) const noexcept = 0;
    virtual std::int64_t getDeviceMemorySizeForProfileV2(std::int32_t profile) const noexcept = 0;
    virtual IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy how) noexcept = 0;
    virtual IEngineInspector* createEngineInspector() const noexcept = 0;
};

class IRuntime : public Object {
  public:
    virtual ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept = 0;
};

class ITensor : public Object {
  public:
    virtual const char* getName() const noexcept = 0;
    virtual Dims getDimensions() const noexcept = 0;
};

class INetworkDefinition : public Object {
  public:
    virtual std::int32_t getNbInputs() const noexcept = 0;
    virtual ITensor* getInput(std::int32_t index) const noexcept = 0;
};

class IOptimizationProfile : public Object {
  public:
    virtual bool setDimensions(const char* name, OptProfileSelector which, const Dims& dims) noexcept = 0;
};

class ITimingCache : public Object {
  public:
    virtual IHostMemory* serialize() const noexcept = 0;
};

class IProgressMonitor : public Object {
  public:
    virtual void phaseStart(const char* phase, const char* parent, std::int32_t steps) noexcept = 0;
    virtual bool stepComplete(const char* phase, std::int32_t step) noexcept = 0;
    virtual void phaseFinish(const char* phase) noexcept = 0;
};

class IBuilderConfig : public Object {
  public:
    virtual void setProgressMonitor(IProgressMonitor* monitor) noexcept = 0;
    virtual void setProfilingVerbosity(ProfilingVerbosity verbosity) noexcept = 0;
    virtual ITimingCache* createTimingCache(const void* blob, std::size_t size) const noexcept = 0;
    virtual bool setTimingCache(const ITimingCache& cache, bool ignore_mismatch) noexcept = 0;
    virtual std::int32_t addOptimizationProfile(const IOptimizationProfile* profile) noexcept = 0;
};

class IBuilder : public Object {
  public:
    virtual INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags flags) noexcept = 0;
    virtual IBuilderConfig* createBuilderConfig() noexcept = 0;
    virtual IOptimizationProfile* createOptimizationProfile() noexcept = 0;
    virtual IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& config) noexcept = 0;
};

}  // namespace nvinfer1

// The seam to CUDA: the few calls of the driver's interface that we need, from libcuda opened at run time.
//
// It is the driver's interface and not the runtime's, because it comes with every NVIDIA driver under one name, its
// entry points never change, and TensorRT, PyTorch and Triton use the same streams and memory (the primary context).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "library.h"

// The driver's own tags, so that its handles are those of <cuda_runtime_api.h>.
struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;

namespace emonet {

using StreamHandle = CUstream_st*;
using Address = unsigned long long;  // a CUdeviceptr

// The driver's numbers; checked against <cuda.h> by tests/csrc/driver_numbers.cpp.
constexpr int kSuccess = 0;
constexpr int kNotReady = 600;
constexpr int kCapabilityMajor = 75;
constexpr int kCapabilityMinor = 76;
constexpr int kPointerContext = 1;
constexpr int kPointerDevice = 9;
constexpr int kCaptureThreadLocal = 1;
constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventNoTiming = 2;

class Cuda {
  public:
    // Throws Error when there is no driver, or it finds no GPU.
    explicit Cuda(const std::vector<std::string>& candidates);

    int devices() const { return devices_; }
    // Throws Error with the driver's own words unless status is success.
    void check(int status, const char* call) const;

    int (*device_get)(int*, int) = nullptr;
    int (*device_name)(char*, int, int) = nullptr;
    int (*device_attribute)(int*, int, int) = nullptr;
    int (*primary_retain)(CUctx_st**, int) = nullptr;
    int (*primary_release)(int) = nullptr;
    int (*push)(CUctx_st*) = nullptr;
    int (*pop)(CUctx_st**) = nullptr;
    int (*context_wait)() = nullptr;
    int (*memory_info)(std::size_t*, std::size_t*) = nullptr;
    int (*allocate)(Address*, std::size_t) = nullptr;
    int (*release)(Address) = nullptr;
    int (*allocate_host)(void**, std::size_t, unsigned) = nullptr;
    int (*release_host)(void*) = nullptr;
    int (*to_device)(Address, const void*, std::size_t, StreamHandle) = nullptr;
    int (*to_host)(void*, Address, std::size_t, StreamHandle) = nullptr;
    int (*copy)(Address, Address, std::size_t, StreamHandle) = nullptr;
    int (*fill)(Address, unsigned char, std::size_t, StreamHandle) = nullptr;
    int (*pointer_attribute)(void*, int, Address) = nullptr;
    int (*stream_create)(StreamHandle*, unsigned) = nullptr;
    int (*stream_destroy)(StreamHandle) = nullptr;
    int (*stream_wait_all)(StreamHandle) = nullptr;
    int (*stream_wait)(StreamHandle, CUevent_st*, unsigned) = nullptr;
    int (*stream_capturing)(StreamHandle, int*) = nullptr;
    int (*capture_begin)(StreamHandle, int) = nullptr;
    int (*capture_end)(StreamHandle, CUgraph_st**) = nullptr;
    int (*graph_instantiate)(CUgraphExec_st**, CUgraph_st*, unsigned long long) = nullptr;
    int (*graph_launch)(CUgraphExec_st*, StreamHandle) = nullptr;
    int (*graph_exec_destroy)(CUgraphExec_st*) = nullptr;
    int (*graph_destroy)(CUgraph_st*) = nullptr;
    int (*event_create)(CUevent_st**, unsigned) = nullptr;
    int (*event_destroy)(CUevent_st*) = nullptr;
    int (*event_record)(CUevent_st*, StreamHandle) = nullptr;
    int (*event_wait)(CUevent_st*) = nullptr;
    int (*event_query)(CUevent_st*) = nullptr;

  private:
    SharedLibrary library_;
    int (*error_text_)(int, const char**) = nullptr;
    int devices_ = 0;
};

// One GPU and its primary context, which PyTorch and TensorRT use too.
class Device {
  public:
    // Throws Error when there is no such device.
    Device(std::shared_ptr<const Cuda> cuda, int index);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const Cuda& cuda() const { return *cuda_; }
    int index() const { return index_; }
    std::string name() const;
    std::pair<int, int> capability() const;
    // (free, total) bytes.
    std::pair<std::size_t, std::size_t> memory() const;
    // The device that `address` belongs to. Throws Error when it is no memory of CUDA's, or that of another context,
    // which no kernel of ours can read.
    int owner_of(Address address) const;
    // Waits for all work on the device.
    void wait_all() const;

  private:
    friend class Current;

    std::shared_ptr<const Cuda> cuda_;
    int index_;
    int handle_ = 0;
    CUctx_st* context_ = nullptr;
};

// Makes a device's context the calling thread's for as long as this lives.
class Current {
  public:
    // Throws Error when the driver refuses.
    explicit Current(const Device& device);
    // For destructors: at the end of a process the driver may be gone already, and then nothing is left to free.
    Current(const Device& device, std::nothrow_t);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

  private:
    const Device& device_;
    bool pushed_;
};

// Memory on the device, or pinned on the host.
class Memory {
  public:
    enum class Place { kDevice, kPinned };

    // Throws Error when there is not so much.
    Memory(std::shared_ptr<const Device> device, std::size_t bytes, Place place);
    ~Memory();
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    Address address() const { return address_; }
    void* host() const { return reinterpret_cast<void*>(address_); }
    std::size_t bytes() const { return bytes_; }

  private:
    std::shared_ptr<const Device> device_;
    std::size_t bytes_;
    Place place_;
    Address address_ = 0;
};

class Stream {
  public:
    explicit Stream(std::shared_ptr<const Device> device);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    StreamHandle handle() const { return handle_; }
    void wait_all() const;

  private:
    std::shared_ptr<const Device> device_;
    StreamHandle handle_ = nullptr;
};

class Event {
  public:
    explicit Event(std::shared_ptr<const Device> device);
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(StreamHandle stream) const;
    // Makes `stream` wait for what was recorded. The host does not wait.
    void hold(StreamHandle stream) const;
    void wait() const;
    // Whether what was recorded is done.
    bool done() const;

  private:
    std::shared_ptr<const Device> device_;
    CUevent_st* handle_ = nullptr;
};

// A captured graph, ready to be launched.
class Graph {
  public:
    // Ends the capture on `stream` that `capture_begin` began. Throws Error when the capture failed.
    Graph(std::shared_ptr<const Device> device, StreamHandle stream);
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    void launch(StreamHandle stream) const;

  private:
    std::shared_ptr<const Device> device_;
    CUgraphExec_st* handle_ = nullptr;
};

}  // namespace emonet

#include "cuda.h"

#include <array>

#include "error.h"

namespace emonet {

Cuda::Cuda(const std::vector<std::string>& candidates) : library_("NVIDIA's driver (libcuda)", candidates) {
    auto take = [this](auto& function, const char* name) {
        function = library_.need<std::decay_t<decltype(function)>>(name);
    };
    take(error_text_, "cuGetErrorString");
    take(device_get, "cuDeviceGet");
    take(device_name, "cuDeviceGetName");
    take(device_attribute, "cuDeviceGetAttribute");
    take(primary_retain, "cuDevicePrimaryCtxRetain");
    take(primary_release, "cuDevicePrimaryCtxRelease_v2");
    take(push, "cuCtxPushCurrent_v2");
    take(pop, "cuCtxPopCurrent_v2");
    take(context_wait, "cuCtxSynchronize");
    take(memory_info, "cuMemGetInfo_v2");
    take(allocate, "cuMemAlloc_v2");
    take(release, "cuMemFree_v2");
    take(allocate_host, "cuMemHostAlloc");
    take(release_host, "cuMemFreeHost");
    take(to_device, "cuMemcpyHtoDAsync_v2");
    take(to_host, "cuMemcpyDtoHAsync_v2");
    take(copy, "cuMemcpyDtoDAsync_v2");
    take(fill, "cuMemsetD8Async");
    take(pointer_attribute, "cuPointerGetAttribute");
    take(stream_create, "cuStreamCreate");
    take(stream_destroy, "cuStreamDestroy_v2");
    take(stream_wait_all, "cuStreamSynchronize");
    take(stream_wait, "cuStreamWaitEvent");
    take(stream_capturing, "cuStreamIsCapturing");
    take(capture_begin, "cuStreamBeginCapture_v2");
    take(capture_end, "cuStreamEndCapture");
    take(graph_instantiate, "cuGraphInstantiateWithFlags");
    take(graph_launch, "cuGraphLaunch");
    take(graph_exec_destroy, "cuGraphExecDestroy");
    take(graph_destroy, "cuGraphDestroy");
    take(event_create, "cuEventCreate");
    take(event_destroy, "cuEventDestroy_v2");
    take(event_record, "cuEventRecord");
    take(event_wait, "cuEventSynchronize");
    take(event_query, "cuEventQuery");
    check(library_.need<int (*)(unsigned)>("cuInit")(0), "cuInit");
    check(library_.need<int (*)(int*)>("cuDeviceGetCount")(&devices_), "cuDeviceGetCount");
    if (devices_ == 0) {
        throw Error("NVIDIA's driver finds no GPU on this machine; expected at least one");
    }
}

void Cuda::check(int status, const char* call) const {
    if (status == kSuccess) return;
    const char* words = nullptr;
    error_text_(status, &words);
    throw Error(std::string("CUDA's ") + call + " failed: " + (words != nullptr ? words : "unknown error") + " (" +
                std::to_string(status) + ")");
}

Device::Device(std::shared_ptr<const Cuda> cuda, int index) : cuda_(std::move(cuda)), index_(index) {
    if (index < 0 || index >= cuda_->devices()) {
        throw Error("device cuda:" + std::to_string(index) +
                    " does not exist; this machine has cuda:0 to cuda:" + std::to_string(cuda_->devices() - 1));
    }
    cuda_->check(cuda_->device_get(&handle_, index), "cuDeviceGet");
    cuda_->check(cuda_->primary_retain(&context_, handle_), "cuDevicePrimaryCtxRetain");
}

Device::~Device() { cuda_->primary_release(handle_); }

std::string Device::name() const {
    std::array<char, 256> text{};
    cuda_->check(cuda_->device_name(text.data(), static_cast<int>(text.size()), handle_), "cuDeviceGetName");
    return text.data();
}

std::pair<int, int> Device::capability() const {
    std::pair<int, int> found;
    cuda_->check(cuda_->device_attribute(&found.first, kCapabilityMajor, handle_), "cuDeviceGetAttribute");
    cuda_->check(cuda_->device_attribute(&found.second, kCapabilityMinor, handle_), "cuDeviceGetAttribute");
    return found;
}

std::pair<std::size_t, std::size_t> Device::memory() const {
    const Current current(*this);
    std::pair<std::size_t, std::size_t> found;
    cuda_->check(cuda_->memory_info(&found.first, &found.second), "cuMemGetInfo");
    return found;
}

int Device::owner_of(Address address) const {
    const Current current(*this);
    int found = -1;
    if (cuda_->pointer_attribute(&found, kPointerDevice, address) != kSuccess) {
        throw Error("the address is no memory of CUDA's; expected an array on the GPU");
    }
    CUctx_st* owner = nullptr;
    // Memory of the driver's pools belongs to no context, and every one can read it.
    const bool known = cuda_->pointer_attribute(&owner, kPointerContext, address) == kSuccess && owner != nullptr;
    if (found == index_ && known && owner != context_) {
        throw Error(
            "an array lies in another CUDA context than the engine's, the GPU's primary one; with PyCUDA import "
            "pycuda.autoprimaryctx in place of pycuda.autoinit");
    }
    return found;
}

void Device::wait_all() const {
    const Current current(*this);
    cuda_->check(cuda_->context_wait(), "cuCtxSynchronize");
}

Current::Current(const Device& device) : device_(device), pushed_(true) {
    device.cuda().check(device.cuda().push(device.context_), "cuCtxPushCurrent");
}

Current::Current(const Device& device, std::nothrow_t)
    : device_(device), pushed_(device.cuda().push(device.context_) == kSuccess) {}

Current::~Current() {
    if (!pushed_) return;
    CUctx_st* popped = nullptr;
    device_.cuda().pop(&popped);
}

Memory::Memory(std::shared_ptr<const Device> device, std::size_t bytes, Place place)
    : device_(std::move(device)), bytes_(bytes), place_(place) {
    if (bytes_ == 0) return;
    const Current current(*device_);
    const Cuda& cuda = device_->cuda();
    if (place_ == Place::kPinned) {
        void* found = nullptr;
        cuda.check(cuda.allocate_host(&found, bytes_, 0), "cuMemHostAlloc");
        address_ = reinterpret_cast<Address>(found);
        return;
    }
    const int status = cuda.allocate(&address_, bytes_);
    if (status != kSuccess) {
        const auto [free, total] = device_->memory();
        try {
            cuda.check(status, "cuMemAlloc");
        } catch (const Error& error) {
            throw Error(std::string(error.what()) + "; " + std::to_string(bytes_ / 1000000) + " MB were asked for, " +
                        std::to_string(free / 1000000) + " of " + std::to_string(total / 1000000) +
                        " MB are free: use a smaller batch size, or free memory on the GPU");
        }
    }
}

Memory::~Memory() {
    if (address_ == 0) return;
    const Current current(*device_, std::nothrow);
    if (place_ == Place::kPinned) {
        device_->cuda().release_host(host());
    } else {
        device_->cuda().release(address_);
    }
}

Stream::Stream(std::shared_ptr<const Device> device) : device_(std::move(device)) {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().stream_create(&handle_, kStreamNonBlocking), "cuStreamCreate");
}

Stream::~Stream() {
    const Current current(*device_, std::nothrow);
    device_->cuda().stream_destroy(handle_);
}

void Stream::wait_all() const {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().stream_wait_all(handle_), "cuStreamSynchronize");
}

Event::Event(std::shared_ptr<const Device> device) : device_(std::move(device)) {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().event_create(&handle_, kEventNoTiming), "cuEventCreate");
}

Event::~Event() {
    const Current current(*device_, std::nothrow);
    device_->cuda().event_destroy(handle_);
}

void Event::record(StreamHandle stream) const {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().event_record(handle_, stream), "cuEventRecord");
}

void Event::hold(StreamHandle stream) const {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().stream_wait(stream, handle_, 0), "cuStreamWaitEvent");
}

void Event::wait() const {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().event_wait(handle_), "cuEventSynchronize");
}

bool Event::done() const {
    const Current current(*device_);
    const int status = device_->cuda().event_query(handle_);
    if (status != kNotReady) device_->cuda().check(status, "cuEventQuery");
    return status == kSuccess;
}

Graph::Graph(std::shared_ptr<const Device> device, StreamHandle stream) : device_(std::move(device)) {
    const Current current(*device_);
    const Cuda& cuda = device_->cuda();
    CUgraph_st* captured = nullptr;
    cuda.check(cuda.capture_end(stream, &captured), "cuStreamEndCapture");
    const int status = cuda.graph_instantiate(&handle_, captured, 0);
    cuda.graph_destroy(captured);
    cuda.check(status, "cuGraphInstantiate");
}

Graph::~Graph() {
    const Current current(*device_, std::nothrow);
    device_->cuda().graph_exec_destroy(handle_);
}

void Graph::launch(StreamHandle stream) const {
    const Current current(*device_);
    device_->cuda().check(device_->cuda().graph_launch(handle_, stream), "cuGraphLaunch");
}

}  // namespace emonet

// A driver whose GPU is the host's memory.
//
// Streams are as lazy as the rules of CUDA allow: work is done only when somebody waits for it, and nothing but an
// event orders two streams. So a wait that is missing gives wrong numbers every time, not once in a while.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "control.h"

struct CUctx_st {
    int device;
};
struct CUgraph_st {
    std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
    std::vector<std::function<void()>> work;
    std::atomic<int> launching{0};
};
struct CUstream_st {
    CUgraph_st* capturing = nullptr;
    std::deque<std::function<void()>> queue;
    std::size_t done = 0;  // since the beginning; done + queue.size() is what was ever queued
};
struct CUevent_st {
    CUstream_st* stream = nullptr;
    std::size_t position = 0;
};

namespace {

constexpr int kOutOfMemory = 2, kInvalid = 1, kNotReady = 600, kNotCapturing = 901;
constexpr int kDevices = 2;

struct Block {
    std::size_t bytes;
    CUctx_st* context;  // none: of a pool of the driver
};

struct State {
    std::mutex mutex;
    std::map<std::string, int> failures;
    std::map<std::string, std::int64_t> counts;
    std::map<std::string, std::vector<std::vector<float>>> answers;
    std::map<unsigned long long, Block> memory;
    std::string story, told;
    bool block = false;
    bool mix = true;
    std::condition_variable changed;
    std::recursive_mutex device;  // held while work is queued or done
    std::set<CUstream_st*> streams;
    CUstream_st defaults[3];  // the handles 0, 1 and 2
};

State& state() {
    static State* made = new State;  // outlives whatever is destroyed at the end
    return *made;
}

using Device = std::lock_guard<std::recursive_mutex>;

CUstream_st& resolve(CUstream_st* handle) {
    const auto number = reinterpret_cast<std::uintptr_t>(handle);
    return number <= 2 ? state().defaults[number] : *handle;
}

void step(CUstream_st& stream) {
    if (stream.queue.empty()) return;
    const std::function<void()> work = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    work();
}

// Between two steps of the stream that is waited for, every other stream makes one, unless fake_mix says otherwise:
// nothing forbids either.
void work_until(CUstream_st& stream, std::size_t position) {
    const Device hold(state().device);
    static bool interleaving = false;
    const bool outermost = !interleaving;
    interleaving = true;
    while (stream.done < position && !stream.queue.empty()) {
        step(stream);
        if (!outermost || !state().mix) continue;
        for (CUstream_st* other : state().streams) {
            if (other != &stream) step(*other);
        }
    }
    if (outermost) interleaving = false;
}

void work_all(CUstream_st& stream) { work_until(stream, stream.done + stream.queue.size()); }

void wait_for(const CUevent_st& event) {
    if (event.stream != nullptr) work_until(*event.stream, event.position);
}

void work_everything() {
    const Device hold(state().device);
    for (CUstream_st& stream : state().defaults) work_all(stream);
    for (CUstream_st* stream : state().streams) work_all(*stream);
}

thread_local std::vector<CUctx_st*> contexts;
CUctx_st primary[kDevices] = {{0}, {1}};
CUctx_st another = {0};  // as pycuda.autoinit makes one

int allocate(unsigned long long* address, std::size_t bytes, CUctx_st* context) {
    // Aligned as the real one's, which TensorRT asks for.
    void* made = nullptr;
    if (posix_memalign(&made, 256, bytes) != 0) return kOutOfMemory;
    *address = reinterpret_cast<unsigned long long>(made);
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().memory[*address] = {bytes, context};
    return 0;
}

int copy(void* to, const void* from, std::size_t bytes, CUstream_st* stream) {
    if (contexts.empty()) return 201;  // no context is current on this thread
    fake::tell("copy");
    fake::launch(stream, [=] { std::memcpy(to, from, bytes); });
    return 0;
}

}  // namespace

namespace fake {

bool fails(const char* what) {
    State& s = state();
    const std::lock_guard<std::mutex> hold(s.mutex);
    ++s.counts[what];
    const auto found = s.failures.find(what);
    if (found == s.failures.end() || found->second == 0) return false;
    --found->second;
    return true;
}

void tell(const char* what) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    ++state().counts[what];
}

void made(const char* what) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().story += std::string("make ") + what + "\n";
}

void destroyed(const char* what) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().story += std::string("destroy ") + what + "\n";
}

void launch(CUstream_st* handle, std::function<void()> work) {
    const Device hold(state().device);
    CUstream_st& stream = resolve(handle);
    if (stream.capturing != nullptr) {
        stream.capturing->work.push_back(std::move(work));
    } else {
        stream.queue.push_back(std::move(work));
    }
}

void begin_kernel() {
    State& s = state();
    std::unique_lock<std::mutex> hold(s.mutex);
    if (!s.block) return;
    ++s.counts["blocked"];
    s.changed.notify_all();
    if (!s.changed.wait_for(hold, std::chrono::seconds(20), [&] { return !s.block; })) ++s.counts["timed out"];
}

const float* answer(const void* pixels, std::size_t bytes, std::size_t output) {
    State& s = state();
    const std::lock_guard<std::mutex> hold(s.mutex);
    if (s.answers.empty()) return nullptr;
    const auto found = s.answers.find(std::string(static_cast<const char*>(pixels), bytes));
    return found == s.answers.end() ? nullptr : found->second.at(output).data();
}

}  // namespace fake

extern "C" {

void fake_fail(const char* what, int times) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().failures[what] = times;
}

std::int64_t fake_count(const char* what) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    if (std::string(what) == "memory") return static_cast<std::int64_t>(state().memory.size());
    return state().counts[what];
}

const char* fake_story() {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().told = state().story;
    return state().told.c_str();
}

void fake_reset() {
    State& s = state();
    const std::lock_guard<std::mutex> hold(s.mutex);
    s.failures.clear();
    s.counts.clear();
    s.answers.clear();
    s.story.clear();
    s.block = false;
    s.mix = true;
}

void fake_answer(const void* pixels, std::size_t bytes, const float* const* values, const std::size_t* sizes,
                 std::size_t count) {
    std::vector<std::vector<float>> rows;
    for (std::size_t i = 0; i < count; ++i) rows.emplace_back(values[i], values[i] + sizes[i]);
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().answers[std::string(static_cast<const char*>(pixels), bytes)] = std::move(rows);
}

void fake_mix(int on) {
    const Device hold(state().device);
    state().mix = on != 0;
}

void fake_block() {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().block = true;
}

void fake_unblock() {
    const std::lock_guard<std::mutex> hold(state().mutex);
    state().block = false;
    state().changed.notify_all();
}

void fake_wait_blocked() {
    State& s = state();
    std::unique_lock<std::mutex> hold(s.mutex);
    s.changed.wait_for(hold, std::chrono::seconds(20), [&] { return s.counts["blocked"] > 0; });
}

unsigned long long fake_memory(const char* owner, std::size_t bytes) {
    const std::string who = owner;
    unsigned long long address = 0;
    allocate(&address, bytes, who == "mine" ? &primary[0] : who == "theirs" ? &another : nullptr);
    return address;
}

int cuInit(unsigned) { return 0; }
int cuDeviceGetCount(int* count) {
    *count = fake::fails("devices") ? 0 : kDevices;
    return 0;
}
int cuGetErrorString(int status, const char** text) {
    *text = status == kOutOfMemory ? "out of memory" : "a made-up failure";
    return 0;
}
int cuDeviceGet(int* device, int index) {
    *device = index;
    return 0;
}
int cuDeviceGetName(char* text, int size, int) {
    std::strncpy(text, "Fake GPU", static_cast<std::size_t>(size));
    return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? 9 : 0;
    return 0;
}
int cuDevicePrimaryCtxRetain(CUctx_st** context, int device) {
    *context = &primary[device];
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxPushCurrent_v2(CUctx_st* context) {
    contexts.push_back(context);
    return 0;
}
int cuCtxPopCurrent_v2(CUctx_st** context) {
    *context = contexts.back();
    contexts.pop_back();
    return 0;
}
int cuCtxSynchronize() {
    fake::tell("wait for all");
    work_everything();
    return 0;
}
int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    *free = 64000000000;
    *total = 80000000000;
    return 0;
}
int cuMemAlloc_v2(unsigned long long* address, std::size_t bytes) {
    if (contexts.empty()) return 201;
    if (fake::fails("allocate")) return kOutOfMemory;
    return allocate(address, bytes, contexts.back());
}
int cuMemFree_v2(unsigned long long address) {
    fake::tell("free");
    work_everything();  // as the real one waits for the device
    {
        const std::lock_guard<std::mutex> hold(state().mutex);
        if (state().memory.erase(address) == 0) return kInvalid;
    }
    std::free(reinterpret_cast<void*>(address));
    return 0;
}
int cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
    if (fake::fails("allocate_host")) return kOutOfMemory;
    *address = std::malloc(bytes);
    return 0;
}
int cuMemFreeHost(void* address) {
    work_everything();
    std::free(address);
    return 0;
}
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, std::size_t bytes, CUstream_st* stream) {
    return copy(reinterpret_cast<void*>(to), from, bytes, stream);
}
int cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, std::size_t bytes, CUstream_st* stream) {
    return copy(to, reinterpret_cast<const void*>(from), bytes, stream);
}
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, std::size_t bytes, CUstream_st* stream) {
    return copy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes, stream);
}
int cuMemsetD8Async(unsigned long long to, unsigned char value, std::size_t bytes, CUstream_st* stream) {
    fake::launch(stream, [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
    return 0;
}
int cuPointerGetAttribute(void* value, int attribute, unsigned long long address) {
    const std::lock_guard<std::mutex> hold(state().mutex);
    auto found = state().memory.upper_bound(address);
    if (found == state().memory.begin()) return kInvalid;
    --found;
    if (address >= found->first + found->second.bytes) return kInvalid;
    if (attribute == 1) *static_cast<CUctx_st**>(value) = found->second.context;
    if (attribute == 9) *static_cast<int*>(value) = 0;
    return attribute == 1 || attribute == 9 ? 0 : kInvalid;
}
int cuStreamCreate(CUstream_st** stream, unsigned) {
    const Device hold(state().device);
    *stream = new CUstream_st;
    state().streams.insert(*stream);
    return 0;
}
int cuStreamDestroy_v2(CUstream_st* stream) {
    const Device hold(state().device);
    work_all(*stream);
    // Kept: an event may still name it.
    return 0;
}
int cuStreamSynchronize(CUstream_st* stream) {
    work_all(resolve(stream));
    return 0;
}
int cuStreamWaitEvent(CUstream_st* stream, CUevent_st* event, unsigned) {
    fake::launch(stream, [now = *event] { wait_for(now); });
    return 0;
}
int cuStreamIsCapturing(CUstream_st* stream, int* capturing) {
    const Device hold(state().device);
    *capturing = resolve(stream).capturing != nullptr ? 1 : 0;
    return 0;
}
int cuStreamBeginCapture_v2(CUstream_st* stream, int) {
    if (fake::fails("capture")) return kInvalid;
    stream->capturing = new CUgraph_st;
    return 0;
}
int cuStreamEndCapture(CUstream_st* stream, CUgraph_st** graph) {
    if (stream->capturing == nullptr) return kNotCapturing;
    *graph = stream->capturing;
    stream->capturing = nullptr;
    return 0;
}
int cuGraphInstantiateWithFlags(CUgraphExec_st** made, CUgraph_st* graph, unsigned long long) {
    if (fake::fails("instantiate")) return kInvalid;
    *made = new CUgraphExec_st{graph->work, {}};
    fake::made("graph");
    return 0;
}
int cuGraphLaunch(CUgraphExec_st* graph, CUstream_st* stream) {
    fake::tell("launch");
    // CUDA asks that a graph is launched by one thread at a time.
    if (++graph->launching > 1) fake::tell("overlap");
    std::this_thread::yield();
    {
        const Device hold(state().device);
        for (const auto& work : graph->work) fake::launch(stream, work);
    }
    --graph->launching;
    return 0;
}
int cuGraphExecDestroy(CUgraphExec_st* graph) {
    fake::destroyed("graph");
    delete graph;
    return 0;
}
int cuGraphDestroy(CUgraph_st* graph) {
    delete graph;
    return 0;
}
int cuEventCreate(CUevent_st** event, unsigned) {
    *event = new CUevent_st;
    return 0;
}
int cuEventDestroy_v2(CUevent_st* event) {
    delete event;
    return 0;
}
int cuEventRecord(CUevent_st* event, CUstream_st* handle) {
    const Device hold(state().device);
    CUstream_st& stream = resolve(handle);
    *event = {&stream, stream.done + stream.queue.size()};
    return 0;
}
int cuEventQuery(CUevent_st* event) {
    const Device hold(state().device);
    return event->stream == nullptr || event->stream->done >= event->position ? 0 : kNotReady;
}
int cuEventSynchronize(CUevent_st* event) {
    wait_for(*event);
    return 0;
}

}  // extern "C"

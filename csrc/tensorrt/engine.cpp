// An engine and its execution contexts, buffers and CUDA graphs. Just over 300 lines: the order of events on its
// streams can only be checked when it is seen in one place.
#include "engine.h"

#include <algorithm>

#include "error.h"

namespace emonet {

namespace {

struct Kind {
    const char* name;
    std::size_t bytes;
};

Kind kind_of(nvinfer1::DataType type) {
    switch (type) {
        case nvinfer1::DataType::kFLOAT:
            return {"float32", 4};
        case nvinfer1::DataType::kHALF:
            return {"float16", 2};
        case nvinfer1::DataType::kBF16:
            return {"bfloat16", 2};
        case nvinfer1::DataType::kUINT8:
            return {"uint8", 1};
        default:
            throw Error(
                "the engine has a tensor of a type that emonet-fast never builds; expected uint8, float32, "
                "float16 or bfloat16: build it again with `emonet-fast build`");
    }
}

std::string text(const std::vector<std::int64_t>& sizes) {
    std::string out;
    for (const std::int64_t size : sizes) out += (out.empty() ? "" : ", ") + std::to_string(size);
    return out;
}

}  // namespace

Engine::Engine(std::shared_ptr<const TensorRt> tensorrt, std::shared_ptr<const Device> device, Logger::Sink sink,
               const void* blob, std::size_t bytes)
    : tensorrt_(std::move(tensorrt)), device_(std::move(device)), logger_(std::move(sink)) {
    const Current current(*device_);
    runtime_ = tensorrt_->runtime(logger_);
    engine_.reset(runtime_->deserializeCudaEngine(blob, bytes));
    if (engine_ == nullptr) {
        fail("TensorRT refused an engine of " + std::to_string(bytes) +
             " bytes; it must come from the same TensorRT and the same kind of GPU: build it again with `emonet-fast "
             "build`");
    }
    read_tensors();
    read_profiles();
    make_buffers();
}

Engine::~Engine() {
    const Current current(*device_, std::nothrow);
    // What callers' streams still have queued uses the contexts and the buffers.
    if (idle_ != nullptr) {
        try {
            idle_->wait();
        } catch (const Error&) {  // a driver that is broken or has ended runs nothing any more
        }
    }
    lanes_.clear();
    engine_.reset();
    runtime_.reset();
}

void Engine::fail(const std::string& text) { throw Error(text + logger_.errors()); }

void Engine::read_tensors() {
    for (std::int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
        const char* name = engine_->getIOTensorName(i);
        const auto shape = engine_->getTensorShape(name);
        const Kind kind = kind_of(engine_->getTensorDataType(name));
        const bool input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        Tensor tensor{name, input, kind.name, {}, kind.bytes};
        for (std::int32_t axis = 1; axis < shape.nbDims; ++axis) {
            tensor.row.push_back(shape.d[axis]);
            tensor.row_bytes *= static_cast<std::size_t>(std::max<std::int64_t>(shape.d[axis], 0));
        }
        if (shape.nbDims < 1 || tensor.row_bytes == 0) {
            throw Error("the engine's tensor '" + tensor.name +
                        "' has no fixed row; expected a free batch and fixed other axes: build it again with "
                        "`emonet-fast build`");
        }
        tensors_.push_back(std::move(tensor));
    }
    const auto inputs = std::count_if(tensors_.begin(), tensors_.end(), [](const Tensor& t) { return t.input; });
    if (inputs != 1 || tensors_.size() < 2) {
        throw Error("the engine has " + std::to_string(inputs) + " inputs of " + std::to_string(tensors_.size()) +
                    " tensors; expected one input and at least one output: it is no engine of emonet-fast");
    }
    // The input first, the outputs behind it in the network's order.
    std::stable_sort(tensors_.begin(), tensors_.end(),
                     [](const Tensor& a, const Tensor& b) { return a.input && !b.input; });
}

void Engine::read_profiles() {
    const char* input = tensors_.front().name.c_str();
    for (std::int32_t i = 0; i < engine_->getNbOptimizationProfiles(); ++i) {
        const auto low = engine_->getProfileShape(input, i, nvinfer1::OptProfileSelector::kMIN);
        const auto high = engine_->getProfileShape(input, i, nvinfer1::OptProfileSelector::kMAX);
        if (low.nbDims < 1 || low.d[0] != high.d[0] || low.d[0] < 1) {
            throw Error("profile " + std::to_string(i) +
                        " of the engine is not of one batch size; expected profiles of fixed sizes: build it again "
                        "with `emonet-fast build`");
        }
        profiles_.emplace(high.d[0], i);
    }
    if (profiles_.empty()) {
        throw Error("the engine has no optimisation profile; build it again with `emonet-fast build`");
    }
}

void Engine::make_buffers() {
    const auto largest = static_cast<std::size_t>(profiles_.rbegin()->first);
    stream_ = std::make_unique<Stream>(device_);
    idle_ = std::make_unique<Event>(device_);
    const Cuda& cuda = device_->cuda();
    for (const Tensor& tensor : tensors_) {
        auto made = std::make_unique<Memory>(device_, largest * tensor.row_bytes, Memory::Place::kDevice);
        cuda.check(cuda.fill(made->address(), 0, made->bytes(), stream_->handle()), "cuMemsetD8Async");
        buffers_.push_back(std::move(made));
    }
    std::size_t scratch = 0;
    for (const auto& [size, profile] : profiles_) {
        const std::int64_t needed = engine_->getDeviceMemorySizeForProfileV2(profile);
        scratch = std::max(scratch, static_cast<std::size_t>(std::max<std::int64_t>(needed, 0)));
    }
    scratch_ = std::make_unique<Memory>(device_, scratch, Memory::Place::kDevice);
    idle_->record(stream_->handle());
    stream_->wait_all();
}

std::vector<std::int64_t> Engine::batch_sizes() const {
    std::vector<std::int64_t> out;
    for (const auto& [size, profile] : profiles_) out.push_back(size);
    return out;
}

std::vector<std::int64_t> Engine::captured() const {
    const std::lock_guard<std::mutex> hold(mutex_);
    std::vector<std::int64_t> out;
    for (const auto& [size, lane] : lanes_) {
        if (lane.graph != nullptr) out.push_back(size);
    }
    return out;
}

std::size_t Engine::in_place() const {
    const std::lock_guard<std::mutex> hold(mutex_);
    std::size_t sum = 0;
    for (const auto& [size, lane] : lanes_) sum += lane.in_place.size();
    return sum;
}

std::size_t Engine::buffer_bytes() const {
    std::size_t sum = scratch_->bytes();
    for (const auto& memory : buffers_) sum += memory->bytes();
    return sum;
}

std::int64_t Engine::size_for(std::int64_t n) const {
    const auto found = profiles_.lower_bound(n);
    if (n < 1 || found == profiles_.end()) {
        throw Error("a batch has " + std::to_string(n) + " rows; this engine takes 1 to " +
                    std::to_string(profiles_.rbegin()->first) + " (batch sizes " + text(batch_sizes()) + ")");
    }
    return found->first;
}

void Engine::prepare(std::int64_t n) {
    const std::int64_t size = size_for(n);
    const std::lock_guard<std::mutex> hold(mutex_);
    const Current current(*device_);
    lane(size);
}

void Engine::run(Address input, std::int64_t n, const std::vector<Address>& outputs, StreamHandle stream) {
    const std::int64_t size = size_for(n);
    if (outputs.size() != tensors_.size() - 1) {
        throw Error(std::to_string(outputs.size()) + " addresses came for " + std::to_string(tensors_.size() - 1) +
                    " outputs; expected one for each");
    }
    const std::lock_guard<std::mutex> hold(mutex_);
    const Current current(*device_);
    const Cuda& cuda = device_->cuda();
    int capturing = 0;
    cuda.check(cuda.stream_capturing(stream, &capturing), "cuStreamIsCapturing");
    if (capturing != 0) {
        throw Error(
            "the stream is capturing a CUDA graph; expected one that is not: the engine's work is a graph of "
            "its own");
    }
    Lane& used = lane(size);
    idle_->hold(stream);
    try {
        queue(used, size, n, input, outputs, stream);
    } catch (const Error&) {
        idle_->record(stream);  // what was queued until then uses the buffers all the same
        throw;
    }
    idle_->record(stream);
}

void Engine::queue(Lane& used, std::int64_t size, std::int64_t n, Address input, const std::vector<Address>& outputs,
                   StreamHandle stream) {
    const Cuda& cuda = device_->cuda();
    const auto rows = static_cast<std::size_t>(n);
    const Graph* graph = n == size ? graph_in_place(used, size, input) : nullptr;
    if (graph == nullptr) {
        const Address own = buffers_.front()->address();
        cuda.check(cuda.copy(own, input, rows * tensors_.front().row_bytes, stream), "cuMemcpyDtoDAsync");
        graph = used.graph.get();
    }
    if (graph != nullptr) {
        graph->launch(stream);
    } else if (!used.context->enqueueV3(stream)) {
        fail("TensorRT could not run batch size " + std::to_string(size));
    }
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        const Address own = buffers_[i + 1]->address();
        cuda.check(cuda.copy(outputs[i], own, rows * tensors_[i + 1].row_bytes, stream), "cuMemcpyDtoDAsync");
    }
}

Engine::Lane& Engine::lane(std::int64_t size) {
    const auto found = lanes_.find(size);
    if (found != lanes_.end()) return found->second;
    // Buffers and scratch are shared: nothing of another size may still run while this one warms up.
    idle_->hold(stream_->handle());
    Lane made = make_lane(size);
    return lanes_.emplace(size, std::move(made)).first->second;
}

Engine::Lane Engine::make_lane(std::int64_t size) {
    Lane made;
    made.context.reset(engine_->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
    if (made.context == nullptr) {
        fail("TensorRT could not make a context for batch size " + std::to_string(size) +
             "; the GPU's memory may be full: use a smaller batch size, or free memory on the GPU");
    }
    configure(*made.context, size);
    // Once before the capture, as TensorRT asks for: the first call may still allocate, and a capture may not.
    if (!made.context->enqueueV3(stream_->handle())) {
        fail("TensorRT could not run batch size " + std::to_string(size));
    }
    stream_->wait_all();
    made.graph = capture(*made.context, "batch size " + std::to_string(size) + " runs without a CUDA graph",
                         buffers_.front()->address());
    return made;
}

void Engine::configure(nvinfer1::IExecutionContext& context, std::int64_t size) {
    if (!context.setOptimizationProfileAsync(profiles_.at(size), stream_->handle())) {
        fail("TensorRT refused the profile of batch size " + std::to_string(size));
    }
    context.setDeviceMemoryV2(reinterpret_cast<void*>(scratch_->address()),
                              static_cast<std::int64_t>(scratch_->bytes()));
    const Tensor& input = tensors_.front();
    nvinfer1::Dims shape{};
    shape.nbDims = static_cast<std::int32_t>(input.row.size()) + 1;
    shape.d[0] = size;
    std::copy(input.row.begin(), input.row.end(), shape.d + 1);
    if (!context.setInputShape(input.name.c_str(), shape)) {
        fail("TensorRT refused the shape of '" + input.name + "' at batch size " + std::to_string(size));
    }
    for (std::size_t i = 0; i < tensors_.size(); ++i) set_address(context, tensors_[i], buffers_[i]->address());
}

void Engine::set_address(nvinfer1::IExecutionContext& context, const Tensor& tensor, Address address) {
    if (!context.setTensorAddress(tensor.name.c_str(), reinterpret_cast<void*>(address))) {
        fail("TensorRT refused the address of '" + tensor.name + "'");
    }
}

const Graph* Engine::graph_in_place(Lane& lane, std::int64_t size, Address input) {
    // Where this size has no graph of its own, it cannot be captured at all.
    if (lane.graph == nullptr) return nullptr;
    // The context keeps the last address that was captured: from now on it runs by its graphs alone.
    return lane.in_place.find(input, *idle_, [&](Address address) {
        return capture(*lane.context, "batch size " + std::to_string(size) + " copies its input on the GPU", address);
    });
}

std::unique_ptr<Graph> Engine::capture(nvinfer1::IExecutionContext& context, const std::string& what, Address input) {
    const Cuda& cuda = device_->cuda();
    try {
        set_address(context, tensors_.front(), input);
        // thread-local: other threads go on using the GPU
        cuda.check(cuda.capture_begin(stream_->handle(), kCaptureThreadLocal), "cuStreamBeginCapture");
        const bool queued = context.enqueueV3(stream_->handle());
        auto graph = std::make_unique<Graph>(device_, stream_->handle());  // ends the capture in any case
        if (!queued) throw Error("enqueueV3 failed inside the capture");
        return graph;
    } catch (const Error& error) {
        // Some networks cannot be captured; they run all the same, only with more work for the host.
        logger_.say(Level::kWarning, what + ": " + error.what() + logger_.errors());
        return nullptr;
    }
}

std::string Engine::inspect() {
    const std::lock_guard<std::mutex> hold(mutex_);
    const Current current(*device_);
    const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine_->createEngineInspector());
    if (inspector == nullptr) fail("TensorRT could not make an engine inspector");
    const char* found = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
    if (found == nullptr) fail("TensorRT's engine inspector said nothing");
    return found;
}

}  // namespace emonet

// One engine on one GPU: fixed batch sizes, a context and a captured graph for each, I/O by name, shared scratch.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda.h"
#include "inputs.h"
#include "logger.h"

namespace emonet {

// An input or output. row: its shape without the batch.
struct Tensor {
    std::string name;
    bool input;
    std::string dtype;  // as numpy names it
    std::vector<std::int64_t> row;
    std::size_t row_bytes;
};

// Thread-safe: calls take turns on the host, and their work takes turns on the GPU, since they share buffers.
//
// Members are destroyed from the last to the first: contexts and graphs, the engine, the runtime, the logger.
class Engine {
  public:
    // blob: a serialised engine. It is code, so it must come from a trusted place. Throws Error when TensorRT refuses
    // it, or it is no network of ours (one uint8 input, batch first; profiles of one batch size each).
    Engine(std::shared_ptr<const TensorRt> tensorrt, std::shared_ptr<const Device> device, Logger::Sink sink,
           const void* blob, std::size_t bytes);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    const std::vector<Tensor>& tensors() const { return tensors_; }
    std::vector<std::int64_t> batch_sizes() const;
    std::vector<std::int64_t> captured() const;
    // How many graphs read a caller's buffer in place.
    std::size_t in_place() const;
    // Bytes of device memory for buffers and scratch, beside the engine's own weights.
    std::size_t buffer_bytes() const;
    // The smallest batch size that holds n rows. Throws Error when there is none.
    std::int64_t size_for(std::int64_t n) const;
    // Makes the context and the graph of the batch size for n rows, if they are not there.
    void prepare(std::int64_t n);
    // Queues n rows on `stream`: from `input` to `outputs`, one address for each output in the order of tensors().
    // A batch of exactly one of the sizes is read where it lies once its address is known, see inputs.h. Others are
    // copied into the input's buffer; rows of the padding hold what an earlier batch left there, and no row depends on
    // another. Throws Error and leaves the engine usable.
    void run(Address input, std::int64_t n, const std::vector<Address>& outputs, StreamHandle stream);
    // All layers as TensorRT's inspector describes them: JSON.
    std::string inspect();

  private:
    struct Lane {
        std::unique_ptr<nvinfer1::IExecutionContext> context;
        std::unique_ptr<Graph> graph;
        InputGraphs in_place;
    };

    void read_tensors();
    void read_profiles();
    void make_buffers();
    Lane& lane(std::int64_t size);
    Lane make_lane(std::int64_t size);
    void configure(nvinfer1::IExecutionContext& context, std::int64_t size);
    void set_address(nvinfer1::IExecutionContext& context, const Tensor& tensor, Address address);
    // What `run` does between waiting for the buffers and letting others have them.
    void queue(Lane& used, std::int64_t size, std::int64_t n, Address input, const std::vector<Address>& outputs,
               StreamHandle stream);
    // A graph that reads `input`, or nullptr and a warning that begins with `what`.
    std::unique_ptr<Graph> capture(nvinfer1::IExecutionContext& context, const std::string& what, Address input);
    // The graph for rows that lie at `input`, or nullptr where they must be copied.
    const Graph* graph_in_place(Lane& lane, std::int64_t size, Address input);
    [[noreturn]] void fail(const std::string& text);

    std::shared_ptr<const TensorRt> tensorrt_;
    std::shared_ptr<const Device> device_;
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::vector<Tensor> tensors_;
    std::map<std::int64_t, int> profiles_;          // batch size to profile
    std::vector<std::unique_ptr<Memory>> buffers_;  // of the largest batch size, in the order of tensors_
    std::unique_ptr<Memory> scratch_;
    std::unique_ptr<Stream> stream_;
    std::unique_ptr<Event> idle_;
    mutable std::mutex mutex_;
    std::map<std::int64_t, Lane> lanes_;
};

}  // namespace emonet

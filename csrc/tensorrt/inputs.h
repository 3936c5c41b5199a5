// Graphs that read a caller's input where it lies: for callers whose batches come from the same few buffers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cuda.h"

namespace emonet {

// The graphs of one batch size. A graph's addresses are fixed when it is captured, and a capture takes milliseconds. So
// graphs are made only for addresses that come again, and only for few of them, and they are kept.
class InputGraphs {
  public:
    // A graph whose input is this address, or nullptr where it could not be captured.
    using Capture = std::function<std::unique_ptr<Graph>(Address)>;

    // The graph that reads `input`, or nullptr where it comes for the first time, is not aligned as TensorRT needs it,
    // or too many others are in use. idle: the event after all that was queued; it is waited for before a graph is
    // dropped.
    const Graph* find(Address input, const Event& idle, const Capture& capture);
    std::size_t size() const;

  private:
    struct Known {
        Address input;
        std::unique_ptr<Graph> graph;
        std::uint64_t used;
    };

    bool make_room(const Event& idle);

    std::vector<Known> known_;
    std::uint64_t calls_ = 0;
    bool refused_ = false;
};

}  // namespace emonet

#include "inputs.h"

#include <algorithm>

namespace emonet {

namespace {

// setTensorAddress needs it.
constexpr Address kAlignment = 256;
// A pipeline keeps two or three batches under way; each graph costs some megabytes of the GPU's memory.
constexpr std::size_t kKept = 4;
// A graph that so many calls did not use belongs to a buffer that is gone.
constexpr std::uint64_t kForgotten = 64;

}  // namespace

const Graph* InputGraphs::find(Address input, const Event& idle, const Capture& capture) {
    if (refused_ || input % kAlignment != 0) return nullptr;
    ++calls_;
    const auto found =
        std::find_if(known_.begin(), known_.end(), [input](const Known& known) { return known.input == input; });
    if (found == known_.end()) {
        if (make_room(idle)) known_.push_back({input, nullptr, calls_});
        return nullptr;
    }
    found->used = calls_;
    if (found->graph == nullptr) {
        found->graph = capture(input);
        refused_ = found->graph == nullptr;  // it would be refused every time
    }
    return found->graph.get();
}

std::size_t InputGraphs::size() const {
    return static_cast<std::size_t>(
        std::count_if(known_.begin(), known_.end(), [](const Known& known) { return known.graph != nullptr; }));
}

bool InputGraphs::make_room(const Event& idle) {
    if (known_.size() < kKept) return true;
    const auto oldest =
        std::min_element(known_.begin(), known_.end(), [](const Known& a, const Known& b) { return a.used < b.used; });
    if (oldest->graph != nullptr) {
        if (calls_ - oldest->used < kForgotten) return false;
        idle.wait();
    }
    known_.erase(oldest);
    return true;
}

}  // namespace emonet

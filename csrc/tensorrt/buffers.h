// Device memory that is used again: to free it may stall the whole GPU, and a call takes as much as the one before.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

#include "cuda.h"

namespace emonet {

// Memory that was lent for work on one stream.
class Lease {
  public:
    Lease(std::unique_ptr<Memory> memory, StreamHandle stream) : memory_(std::move(memory)), stream_(stream) {}

    Address address() const { return memory_->address(); }
    // Another stream may use it, of which nobody can tell when it has done so.
    void share() { shared_ = true; }

  private:
    friend class Buffers;

    std::unique_ptr<Memory> memory_;
    StreamHandle stream_;
    std::atomic<bool> shared_{false};
};

// A free list. Thread-safe. What is given back serves the next call on the same stream, whose work follows all that was
// queued there; so nothing waits for anything. What was shared with another stream is freed by the driver, which waits.
class Buffers : public std::enable_shared_from_this<Buffers> {
  public:
    explicit Buffers(std::shared_ptr<const Device> device) : device_(std::move(device)) {}

    // At least so many bytes. They come back when the last owner is gone, or are freed where this is gone before.
    // Throws Error when there is not so much memory.
    std::shared_ptr<Lease> lend(std::size_t bytes, StreamHandle stream);

  private:
    // More than callers have under way; what is above is freed, so that sizes and streams of the past take no memory.
    static constexpr std::size_t kKept = 16;

    void take_back(std::unique_ptr<Lease> lease);

    std::shared_ptr<const Device> device_;
    std::mutex mutex_;
    std::list<std::unique_ptr<Lease>> free_;  // the one that was given back last is at the end
};

}  // namespace emonet

#include "buffers.h"

#include <algorithm>

namespace emonet {

namespace {

// Powers of two: few sizes, so that batches of any length find each other's memory.
std::size_t size_class(std::size_t bytes) {
    std::size_t size = 256;
    while (size < bytes) size *= 2;
    return size;
}

}  // namespace

std::shared_ptr<Lease> Buffers::lend(std::size_t bytes, StreamHandle stream) {
    const std::size_t size = size_class(bytes);
    std::unique_ptr<Lease> found;
    {
        const std::lock_guard<std::mutex> hold(mutex_);
        const auto fits = std::find_if(free_.begin(), free_.end(), [size, stream](const std::unique_ptr<Lease>& one) {
            return one->memory_->bytes() == size && one->stream_ == stream;
        });
        if (fits != free_.end()) {
            found = std::move(*fits);
            free_.erase(fits);
        }
    }
    if (found == nullptr) {
        found = std::make_unique<Lease>(std::make_unique<Memory>(device_, size, Memory::Place::kDevice), stream);
    }
    return {found.release(), [home = weak_from_this()](Lease* lease) {
                std::unique_ptr<Lease> back(lease);
                if (const auto buffers = home.lock()) buffers->take_back(std::move(back));
            }};
}

void Buffers::take_back(std::unique_ptr<Lease> lease) {
    std::unique_ptr<Lease> oldest;  // freed after the lock is given up
    if (lease->shared_) return;
    const std::lock_guard<std::mutex> hold(mutex_);
    free_.push_back(std::move(lease));
    if (free_.size() > kKept) {
        oldest = std::move(free_.front());
        free_.pop_front();
    }
}

}  // namespace emonet

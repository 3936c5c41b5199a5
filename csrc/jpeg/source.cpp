#include "source.h"

#include <algorithm>
#include <cstring>

namespace emonet::jpeg {

namespace {

constexpr char kMarker = '\xFF';

}  // namespace

void Source::begin() {
    filled_ = 0;
    ended_ = false;
    fill();
}

void Source::slide(std::size_t used) {
    std::memmove(bytes_.data(), bytes_.data() + used, filled_ - used);
    filled_ -= used;
    fill();
}

void Source::fill() {
    while (!ended_ && filled_ < kWindow) {
        const std::string_view some = file_.substr(at_, kWindow - filled_);
        const std::size_t found = std::min(some.find(kMarker), some.size());
        std::memcpy(bytes_.data() + filled_, some.data(), found);
        filled_ += found;
        at_ += found;
        if (at_ + 1 >= file_.size()) {
            ended_ = true;
        } else if (found < some.size()) {
            ended_ = file_[at_ + 1] != '\0';
            if (ended_) break;
            bytes_[filled_++] = 0xFF;
            at_ += 2;
        }
    }
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(filled_), BitReader::kPadding, std::uint8_t{0});
}

bool Source::leave(std::size_t count, std::size_t number) {
    for (; count > 0; ++number) {
        at_ = file_.find(kMarker, at_);
        if (at_ == std::string_view::npos || at_ + 1 >= file_.size()) return false;
        while (file_[at_ + 1] == '\0') {
            at_ = file_.find(kMarker, at_ + 2);
            if (at_ == std::string_view::npos || at_ + 1 >= file_.size()) return false;
        }
        if (static_cast<std::uint8_t>(file_[at_ + 1]) != kRestart0 + number % 8) return false;
        at_ += 2;
        --count;
    }
    return true;
}

}  // namespace emonet::jpeg

// The pixel data of a JPEG file without byte stuffing, a window at a time: small enough to stay in the processor's
// cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "bits.h"

namespace emonet::jpeg {

// The first of the eight restart markers, which take turns.
inline constexpr std::uint8_t kRestart0 = 0xD0;

// Of one restart interval after the other; all of the data where there are no restart markers.
class Source {
  public:
    // start: where the data begin in the file.
    Source(std::string_view file, std::size_t start) : file_(file), at_(start), bytes_(kWindow + BitReader::kPadding) {}

    // Fills the window with the beginning of an interval.
    void begin();
    // Drops the window's first bytes, which were read, and fills it up.
    void slide(std::size_t used);
    // Leaves the interval and those after it, `count` in all, without looking at their data. number: of the first
    // one's restart marker. False where another marker or the file's end comes first.
    bool leave(std::size_t count, std::size_t number);

    [[nodiscard]] const std::uint8_t* data() const { return bytes_.data(); }

    // How many bits of the window may have been read before the next unit: up to the interval's end where that is
    // known, else so many that another unit is there.
    [[nodiscard]] std::size_t limit() const { return (ended_ ? filled_ : filled_ - BitReader::kPadding) * 8; }

    [[nodiscard]] bool ended() const { return ended_; }

  private:
    static constexpr std::size_t kWindow = 1U << 15U;

    void fill();

    std::string_view file_;
    std::size_t at_;
    std::vector<std::uint8_t> bytes_;
    std::size_t filled_ = 0;
    bool ended_ = false;  // at a marker, or at the file's end
};

}  // namespace emonet::jpeg

// Reads and writes the bits of a JPEG's entropy-coded data, first bit highest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace emonet::jpeg {

// Over data without byte stuffing. Checks no end: the caller does after every minimum coded unit, of which the longest
// are shorter than the kPadding readable bytes that must follow the data (10 blocks of 64 codes of up to 31 bits).
class BitReader {
  public:
    static constexpr std::size_t kPadding = 2560;

    explicit BitReader(const std::uint8_t* data) : data_(data), next_(data) {}

    // At least 56 bits can be peeked at and skipped after this.
    void refill() {
        std::uint64_t word;
        std::memcpy(&word, next_, sizeof word);
        buffer_ |= __builtin_bswap64(word) >> count_;
        next_ += (63 - count_) >> 3;
        count_ |= 56;
    }

    // The next `count` bits, 1 to 32 of them, as a number.
    [[nodiscard]] std::uint32_t peek(int count) const { return static_cast<std::uint32_t>(buffer_ >> (64 - count)); }

    // The same, of 0 bits too.
    [[nodiscard]] std::uint32_t peek_any(int count) const {
        return static_cast<std::uint32_t>(buffer_ >> 1 >> (63 - count));
    }

    void skip(int count) {
        buffer_ <<= count;
        count_ -= static_cast<unsigned>(count);
    }

    // The data have moved towards their start by so many bytes.
    void back(std::size_t bytes) { next_ -= bytes; }

    // Bits read so far, counted from the start of the data.
    [[nodiscard]] std::size_t position() const { return static_cast<std::size_t>(next_ - data_) * 8 - count_; }

  private:
    const std::uint8_t* data_;
    const std::uint8_t* next_;
    std::uint64_t buffer_ = 0;
    unsigned count_ = 0;
};

// Appends bits to a file, with a zero byte behind each 0xFF as JPEG asks.
class BitWriter {
  public:
    explicit BitWriter(std::string& file) : file_(file) {}

    // The low `count` bits of value, 0 to 32 of them.
    void put(std::uint32_t value, int count) {
        if (count == 0) return;
        buffer_ = (buffer_ << count) | (value & (0xFFFFFFFFU >> (32 - count)));
        count_ += count;
        if (count_ >= 32) four();
    }

    // Bits [from, to) of data without stuffing, with BitReader::kPadding bytes behind its end.
    void copy(const std::uint8_t* data, std::size_t from, std::size_t to) {
        while (from < to) {
            std::uint64_t word;
            std::memcpy(&word, data + from / 8, sizeof word);
            const int count = to - from < 32 ? static_cast<int>(to - from) : 32;
            put(static_cast<std::uint32_t>(__builtin_bswap64(word) << (from % 8) >> (64 - count)), count);
            from += static_cast<std::size_t>(count);
        }
    }

    // Fills the last byte with ones, as JPEG asks before a marker, and writes all that is left.
    void align() {
        if (count_ % 8 > 0) put(0xFF, 8 - count_ % 8);
        for (; count_ > 0; count_ -= 8) byte(static_cast<std::uint8_t>(buffer_ >> (count_ - 8)));
    }

  private:
    void four() {
        count_ -= 32;
        const auto word = static_cast<std::uint32_t>(buffer_ >> count_);
        // Whether a byte is 0xFF, that is, 0 in the complement.
        if (((~word - 0x01010101U) & word & 0x80808080U) == 0) {
            const std::uint32_t ordered = __builtin_bswap32(word);
            file_.append(reinterpret_cast<const char*>(&ordered), sizeof ordered);
            return;
        }
        for (int shift = 24; shift >= 0; shift -= 8) byte(static_cast<std::uint8_t>(word >> shift));
    }

    void byte(std::uint8_t value) {
        file_.push_back(static_cast<char>(value));
        if (value == 0xFF) file_.push_back('\0');
    }

    std::string& file_;
    std::uint64_t buffer_ = 0;
    int count_ = 0;
};

}  // namespace emonet::jpeg

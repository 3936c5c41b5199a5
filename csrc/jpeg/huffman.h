// Huffman tables that find where codes end, not what they mean: enough to skip a block, at two codes a step.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "bits.h"

namespace emonet::jpeg {

// A table as a DHT segment gives it: how many codes there are of each length 1..16, and their symbols in order.
struct Codes {
    std::array<std::uint8_t, 16> counts{};
    std::vector<std::uint8_t> symbols;
};

// Finds codes, by ITU T.81 annex F.2.2.3 and a table for those of few bits.
class Huffman {
  public:
    // False where the counts do not make a prefix code.
    bool make(const Codes& table);

    [[nodiscard]] bool made() const { return made_; }

    struct Found {
        std::uint8_t symbol = 0;
        std::uint8_t length = 0;
    };
    // The code that these 16 bits begin with; length 0 where none does.
    [[nodiscard]] Found find(std::uint32_t bits16) const {
        const Found found = quick_[bits16 >> (16 - kQuick)];
        return found.length != 0 ? found : search(bits16);
    }

  private:
    static constexpr int kQuick = 9;

    [[nodiscard]] Found search(std::uint32_t bits16) const;

    bool made_ = false;
    std::vector<std::uint8_t> symbols_;
    // Of each length: the bits of its first code, that one's place among the symbols, and, with 16 bits, the end.
    std::array<std::uint32_t, 17> first_{}, place_{}, end_{};
    std::array<Found, 1 << kQuick> quick_{};
};

// Skips the 63 AC coefficients of blocks.
class AcSkipper {
  public:
    bool make(const Codes& table);

    [[nodiscard]] bool made() const { return huffman_.made(); }

    // From behind a block's DC value to its end. False where no code or no block of 64 is. Needs 16 bits in the reader
    // and leaves as many: looking up first and refilling while the table answers keeps the refill out of the way.
    [[gnu::always_inline]] bool skip(BitReader& reader) const {
        int k = 1;
        while (k < kBlock) {
            const Step step = steps_[reader.peek(kWindow)];
            reader.refill();
            if (k + step.first < kBlock) {
                reader.skip(step.bits);
                k += step.all;
            } else {  // the first code fills the block, or is longer than the window
                const Step only = one(reader.peek(16));
                if (only.bits == 0) return false;
                reader.skip(only.bits);
                k += only.all;
            }
        }
        return k == kBlock || k >= kEnd;
    }

  private:
    static constexpr int kBlock = 64;
    static constexpr int kWindow = 11;
    // What an end of block adds to k: more than 64, so that the block ends.
    static constexpr int kEnd = 128;

    // What the window's bits say: `first` is how far the first code goes, `all` how far it goes with the second code,
    // if that lies within the window, and `bits` the length of all that. An end of block as first code goes 0 far,
    // since it may stand anywhere. Where no code lies within the window, `first` is too far for any block.
    struct alignas(4) Step {
        std::uint8_t first = kEnd;
        std::uint8_t all = 0;
        std::uint8_t bits = 0;
    };

    // The first code alone, of 16 bits; no bits where there is none. By value: a reader that is handed out does not
    // stay in registers.
    [[nodiscard]] Step one(std::uint32_t bits16) const;

    Huffman huffman_;
    std::array<Step, 1 << kWindow> steps_{};
};

}  // namespace emonet::jpeg

#include "huffman.h"

namespace emonet::jpeg {

bool Huffman::make(const Codes& table) {
    symbols_ = table.symbols;
    std::uint32_t code = 0;
    std::uint32_t place = 0;
    for (std::size_t length = 1; length <= 16; ++length) {
        const std::uint32_t count = table.counts[length - 1];
        first_[length] = code;
        place_[length] = place;
        code += count;
        place += count;
        if (code > 1U << length || place > symbols_.size()) return false;
        end_[length] = code << (16 - length);
        code <<= 1U;
    }
    if (place != symbols_.size()) return false;
    for (std::uint32_t bits = 0; bits < quick_.size(); ++bits) {
        // Of the bits that follow nothing is known here: only codes that end before them count.
        const Found found = search(bits << (16 - kQuick));
        quick_[bits] = found.length <= kQuick ? found : Found{};
    }
    made_ = true;
    return true;
}

Huffman::Found Huffman::search(std::uint32_t bits16) const {
    for (std::size_t length = 1; length <= 16; ++length) {
        if (bits16 < end_[length]) {
            const std::uint32_t place = (bits16 >> (16 - length)) - first_[length] + place_[length];
            return {symbols_[place], static_cast<std::uint8_t>(length)};
        }
    }
    return {};
}

namespace {

// How far an AC code goes, of zeros run and value's size (T.81 F.1.2.2); negative where it means nothing in baseline.
constexpr int kNothing = -1;

int coefficients(std::uint8_t symbol, int end) {
    const int run = symbol >> 4;
    if ((symbol & 15) != 0) return run + 1;
    if (run == 0) return end;
    return run == 15 ? 16 : kNothing;
}

}  // namespace

bool AcSkipper::make(const Codes& table) {
    if (!huffman_.make(table)) return false;
    for (std::uint32_t bits = 0; bits < steps_.size(); ++bits) {
        Step& step = steps_[bits];
        const std::uint32_t bits16 = bits << (16 - kWindow);
        const Huffman::Found first = huffman_.find(bits16);
        const int far = coefficients(first.symbol, kEnd);
        if (first.length == 0 || first.length > kWindow || far == kNothing) continue;
        const int used = first.length + (first.symbol & 15);
        step = {static_cast<std::uint8_t>(far == kEnd ? 0 : far), static_cast<std::uint8_t>(far),
                static_cast<std::uint8_t>(used)};
        if (far == kEnd || used >= kWindow) continue;
        const Huffman::Found second = huffman_.find((bits16 << used) & 0xFFFFU);
        const int further = coefficients(second.symbol, kEnd);
        if (second.length == 0 || used + second.length > kWindow || further == kNothing) continue;
        step.all = static_cast<std::uint8_t>(far + further);
        step.bits = static_cast<std::uint8_t>(used + second.length + (second.symbol & 15));
    }
    return true;
}

AcSkipper::Step AcSkipper::one(std::uint32_t bits16) const {
    const Huffman::Found found = huffman_.find(bits16);
    const int far = coefficients(found.symbol, kEnd);
    if (found.length == 0 || far == kNothing) return {};
    const auto passed = static_cast<std::uint8_t>(far);
    return {passed, passed, static_cast<std::uint8_t>(found.length + (found.symbol & 15))};
}

}  // namespace emonet::jpeg

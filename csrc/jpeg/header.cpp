#include "header.h"

#include <algorithm>

namespace emonet::jpeg {

namespace {

constexpr std::uint8_t kBaseline = 0xC0, kExtended = 0xC1, kDht = 0xC4, kSoi = 0xD8, kSos = 0xDA, kDqt = 0xDB,
                       kDri = 0xDD;
constexpr std::uint8_t kApp0 = 0xE0, kApp1 = 0xE1, kApp14 = 0xEE, kApp15 = 0xEF, kComment = 0xFE;
// T.81 B.2.3: the blocks of an MCU of several components, at most.
constexpr int kMcuBlocks = 10;

std::uint8_t byte(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }

int number(std::string_view text, std::size_t at) { return byte(text, at) << 8 | byte(text, at + 1); }

// Each of the following takes a segment's content, without marker and length; false where it is not understood.

bool read_tables(std::string_view text, Header& header) {
    while (!text.empty()) {
        if (text.size() < 17) return false;
        const int kind = byte(text, 0) >> 4;
        const int place = byte(text, 0) & 15;
        if (kind > 1 || place > 3) return false;
        Codes codes;
        std::size_t count = 0;
        for (std::size_t i = 0; i < 16; ++i) count += codes.counts[i] = byte(text, 1 + i);
        if (count > 256 || text.size() < 17 + count) return false;
        codes.symbols.assign(text.begin() + 17, text.begin() + 17 + static_cast<std::ptrdiff_t>(count));
        (kind == 0 ? header.dc : header.ac)[static_cast<std::size_t>(place)] = std::move(codes);
        text.remove_prefix(17 + count);
    }
    return true;
}

bool read_frame(std::string_view text, Header& header) {
    if (!header.components.empty() || text.size() < 6 || byte(text, 0) != 8) return false;
    header.height = number(text, 1);
    header.width = number(text, 3);
    const std::size_t count = byte(text, 5);
    if (header.width == 0 || header.height == 0 || (count != 1 && count != 3) || text.size() != 6 + 3 * count) {
        return false;
    }
    int most_across = 1;
    int most_down = 1;
    int blocks = 0;
    for (std::size_t i = 6; i < text.size(); i += 3) {
        Component one;
        one.id = byte(text, i);
        one.sampling = byte(text, i + 1);
        one.quantisation = byte(text, i + 2);
        // One component alone is not interleaved: an MCU is one block, whatever its sampling factors (T.81 A.2.2).
        one.across = count == 1 ? 1 : one.sampling >> 4;
        one.down = count == 1 ? 1 : one.sampling & 15;
        if (one.across < 1 || one.across > 4 || one.down < 1 || one.down > 4 || one.sampling == 0) return false;
        most_across = std::max(most_across, one.across);
        most_down = std::max(most_down, one.down);
        blocks += one.across * one.down;
        header.components.push_back(one);
    }
    header.mcu_width = 8 * most_across;
    header.mcu_height = 8 * most_down;
    return blocks <= kMcuBlocks;
}

bool read_scan(std::string_view text, Header& header) {
    const std::size_t count = header.components.size();
    if (count == 0 || text.size() != 4 + 2 * count || byte(text, 0) != count) return false;
    for (std::size_t i = 0; i < count; ++i) {
        Component& one = header.components[i];
        one.dc = byte(text, 2 + 2 * i) >> 4;
        one.ac = byte(text, 2 + 2 * i) & 15;
        if (byte(text, 1 + 2 * i) != one.id || one.dc > 3 || one.ac > 3 || !header.dc[one.dc] || !header.ac[one.ac]) {
            return false;
        }
    }
    const std::size_t end = 1 + 2 * count;  // the first and last coefficient, and the bits of each
    return byte(text, end) == 0 && byte(text, end + 1) == 63 && byte(text, end + 2) == 0;
}

bool read_segment(std::uint8_t marker, std::string_view segment, Header& header) {
    const std::string_view text = segment.substr(4);
    switch (marker) {
        case kBaseline:
        case kExtended:
            header.frame = marker;
            return read_frame(text, header);
        case kDht:
            return read_tables(text, header);
        case kDri:
            if (text.size() == 2) header.restart = number(text, 0);
            return text.size() == 2;
        case kSos:
            return read_scan(text, header);
        case kApp0:
        case kApp1:
        case kApp14:
        case kDqt:
            header.kept += segment;
            return true;
        default:
            return (marker > kApp1 && marker <= kApp15) || marker == kComment;
    }
}

}  // namespace

std::optional<Header> read_header(std::string_view file) {
    if (file.size() < 4 || byte(file, 0) != 0xFF || byte(file, 1) != kSoi) return std::nullopt;
    Header header;
    for (std::size_t at = 2; at + 4 <= file.size();) {
        const std::uint8_t marker = byte(file, at + 1);
        const auto length = static_cast<std::size_t>(number(file, at + 2)) + 2;
        if (byte(file, at) != 0xFF || length < 4 || at + length > file.size()) return std::nullopt;
        if (!read_segment(marker, file.substr(at, length), header)) return std::nullopt;
        at += length;
        header.data = at;
        if (marker == kSos) return header;
    }
    return std::nullopt;
}

}  // namespace emonet::jpeg

// The segments of a JPEG file before its pixel data, as far as cutting it takes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "huffman.h"

namespace emonet::jpeg {

struct Component {
    std::uint8_t id = 0;
    int across = 1;  // blocks of a minimum coded unit (MCU), sideways and downwards
    int down = 1;
    std::uint8_t sampling = 0;
    std::uint8_t quantisation = 0;
    std::uint8_t dc = 0;  // numbers of its Huffman tables
    std::uint8_t ac = 0;
};

struct Header {
    int width = 0;
    int height = 0;
    int mcu_width = 0;  // pixels
    int mcu_height = 0;
    std::uint8_t frame = 0;  // the marker of the frame: baseline or extended
    int restart = 0;         // MCUs between restart markers, 0 without them
    std::vector<Component> components;
    std::array<std::optional<Codes>, 4> dc, ac;
    std::string kept;      // segments that a cut keeps as they are: JFIF, EXIF, Adobe, quantisation tables
    std::size_t data = 0;  // where the pixel data begin
};

// Nothing for files that are not of one scan of all components, Huffman coded, sequential, of 8 bits, or are damaged.
std::optional<Header> read_header(std::string_view file);

}  // namespace emonet::jpeg

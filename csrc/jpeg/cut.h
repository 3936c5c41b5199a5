// Cuts a region out of a JPEG file without decoding it: what comes out is a small JPEG file of the same coefficients.
//
// A JPEG's blocks follow one another without a table of where they are, so that all blocks before a region must be
// read. A decoder reads them by decoding all their values; here they are skipped, several codes at a step, and the
// region's blocks are copied bit by bit. Only the first (DC) value of each block, which the file gives as a difference
// from the block before, is written anew.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace emonet::jpeg {

// Pixels of the picture as it is stored, before any orientation; right and bottom are the first ones beyond.
struct Region {
    int left = 0, top = 0, right = 0, bottom = 0;
};

// The cut file, and what part of the picture it holds: whole minimum coded units.
struct Cut {
    std::string file;
    Region held;
};

// The pixels of the region, and those around it that smooth upsampling of the colours takes, equal those of the whole
// file decoded. Nothing where the file is not of a kind that can be cut (see read_header), is damaged before the
// region's end, or the region is not within the picture.
std::optional<Cut> cut(std::string_view file, Region region);

}  // namespace emonet::jpeg

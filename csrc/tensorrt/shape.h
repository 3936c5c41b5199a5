// Shapes and strides that come from outside, in arithmetic that cannot overflow. No Python here, so that the tests
// compile it alone with UndefinedBehaviorSanitizer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "error.h"

namespace emonet {

constexpr std::size_t kMostAxes = 64;

// Bytes of an array in C order. Throws Error where a side is negative, there are too many, or no memory has so many.
inline std::int64_t checked_bytes(const std::int64_t* shape, std::size_t axes, std::int64_t item) {
    if (axes > kMostAxes) throw Error("an array has " + std::to_string(axes) + " axes; expected at most 64");
    const std::int64_t* end = shape + axes;
    if (std::any_of(shape, end, [](std::int64_t side) { return side < 0; })) {
        throw Error("an array has a negative side; expected sides of 0 and more");
    }
    if (std::find(shape, end, 0) != end) return 0;
    std::int64_t bytes = item;
    for (const std::int64_t* side = shape; side != end; ++side) {
        if (bytes > std::numeric_limits<std::int64_t>::max() / *side) {
            throw Error("an array has a shape of more bytes than any memory; expected a batch");
        }
        bytes *= *side;
    }
    return bytes;
}

// Whether these strides, in units of which an item has `item`, are those of C order. The shape must be checked already:
// then no step exceeds the bytes of the whole.
inline bool in_c_order(const std::int64_t* shape, const std::int64_t* strides, std::size_t axes, std::int64_t item) {
    if (std::find(shape, shape + axes, 0) != shape + axes) return true;
    std::int64_t step = item;
    for (std::size_t axis = axes; axis-- > 0;) {
        if (shape[axis] != 1 && strides[axis] != step) return false;
        step *= shape[axis];
    }
    return true;
}

}  // namespace emonet

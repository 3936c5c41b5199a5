// csrc/tensorrt/shape.h alone, to be compiled with UndefinedBehaviorSanitizer: exit status 1 names the line of a fault.
#include <cstdio>
#include <vector>

#include "shape.h"

namespace {

using Sides = std::vector<std::int64_t>;
constexpr std::int64_t kHuge = std::int64_t{1} << 40, kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();

std::int64_t bytes(const Sides& shape, std::int64_t item) {
    return emonet::checked_bytes(shape.data(), shape.size(), item);
}

bool refused(const Sides& shape, std::int64_t item) {
    try {
        bytes(shape, item);
    } catch (const emonet::Error&) {
        return true;
    }
    return false;
}

bool ordered(const Sides& shape, const Sides& strides, std::int64_t item) {
    return emonet::in_c_order(shape.data(), strides.data(), shape.size(), item);
}

void check(bool right, int line) {
    if (right) return;
    std::printf("shapes.cpp:%d\n", line);
    std::exit(1);
}

}  // namespace

int main() {
    check(bytes({2, 3, 4}, 4) == 96, __LINE__);
    check(bytes({}, 2) == 2, __LINE__);
    check(bytes({kMost}, 1) == kMost, __LINE__);
    check(bytes({kHuge, kHuge, kHuge, 0}, 4) == 0, __LINE__);
    check(refused({kMost}, 2) && refused({kHuge, kHuge}, 1) && refused({kHuge, kHuge, kHuge}, 4), __LINE__);
    check(refused({-1}, 1) && refused({0, kLeast}, 1) && refused({kLeast, kLeast}, 4), __LINE__);
    check(refused(Sides(65, 1), 1) && !refused(Sides(64, 1), 1), __LINE__);
    check(ordered({2, 3, 4}, {12, 4, 1}, 1) && ordered({2, 3}, {12, 4}, 4), __LINE__);
    check(ordered({1, 3, 1}, {kLeast, 1, kMost}, 1), __LINE__);
    check(!ordered({2, 3}, {1, 2}, 1) && !ordered({2, 3}, {-3, -1}, 1), __LINE__);
    check(ordered({kHuge, 0, kHuge}, {kMost, kLeast, 7}, 4), __LINE__);
    return 0;
}

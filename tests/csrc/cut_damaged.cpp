// Cuts regions out of damaged copies of a JPEG file. For AddressSanitizer, which ends the process at a fault.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "cut.h"

int main(int count, char** arguments) {
    if (count != 3) return 2;
    std::ifstream stream(arguments[1], std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(stream), {}};
    std::mt19937 random(1);
    const auto below = [&](std::size_t end) { return random() % end; };
    int cuts = 0;
    for (int i = 0; i < std::atoi(arguments[2]); ++i) {
        // A new allocation of just that size each time: what is read beyond the file's end is a fault.
        std::string file = whole.substr(0, i % 3 == 0 ? below(whole.size() + 1) : whole.size());
        file.shrink_to_fit();
        for (std::size_t flips = below(4); flips > 0 && !file.empty(); --flips) {
            file[below(file.size())] = static_cast<char>(random());
        }
        const int left = static_cast<int>(below(64));
        const int top = static_cast<int>(below(64));
        cuts += emonet::jpeg::cut(file, {left, top, left + static_cast<int>(below(64)), top + 9}).has_value() ? 1 : 0;
    }
    std::printf("%d\n", cuts);
    return 0;
}

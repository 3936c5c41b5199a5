// Cuts regions out of damaged copies of a JPEG file: the file, how many copies, its width and height. For
// AddressSanitizer, which ends the process at a fault.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include "cut.h"

int main(int count, char** arguments) {
    if (count != 5) return 2;
    std::ifstream stream(arguments[1], std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(stream), {}};
    std::mt19937 random(1);
    const auto below = [&](std::size_t end) { return random() % end; };
    const auto width = static_cast<std::size_t>(std::atoi(arguments[3]));
    const auto height = static_cast<std::size_t>(std::atoi(arguments[4]));
    int cuts = 0;
    for (int i = 0; i < std::atoi(arguments[2]); ++i) {
        // A new allocation of just that size each time: what is read beyond the file's end is a fault.
        std::string file = whole.substr(0, i % 3 == 0 ? below(whole.size() + 1) : whole.size());
        file.shrink_to_fit();
        for (std::size_t flips = below(4); flips > 0 && !file.empty(); --flips) {
            file[below(file.size())] = static_cast<char>(random());
        }
        const int left = static_cast<int>(below(width));
        const int top = static_cast<int>(below(height));
        const int right = left + static_cast<int>(below(width - static_cast<std::size_t>(left) + 2));
        cuts += emonet::jpeg::cut(file, {left, top, right, top + 9}).has_value() ? 1 : 0;
    }
    std::printf("%d\n", cuts);
    return 0;
}

#include "cut.h"

#include <algorithm>
#include <utility>

#include "header.h"
#include "source.h"

namespace emonet::jpeg {

namespace {

// The DC table of every cut: T.81 table K.3, which has a code for each size of value that 8-bit pictures have.
constexpr std::array<std::uint8_t, 16> kDcCounts{0, 1, 5, 1, 1, 1, 1, 1, 1};
constexpr int kDcSizes = 12;
constexpr std::array<std::uint16_t, kDcSizes> kDcCodes{0x0, 0x2,  0x3,  0x4,  0x5,  0x6,
                                                       0xE, 0x1E, 0x3E, 0x7E, 0xFE, 0x1FE};
constexpr std::array<int, kDcSizes> kDcLengths{2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9};

// Its tables and its component, of each block of a minimum coded unit (MCU).
struct Block {
    const Huffman* dc;
    const AcSkipper* ac;
    std::size_t component;
};

class Tables {
  public:
    // The blocks of an MCU; none where a table is not a prefix code or has values that 8-bit pictures have not.
    std::vector<Block> make(const Header& header) {
        std::vector<Block> blocks;
        for (std::size_t i = 0; i < header.components.size(); ++i) {
            const Component& one = header.components[i];
            const Codes& values = *header.dc[one.dc];
            const bool fits = std::all_of(values.symbols.begin(), values.symbols.end(),
                                          [](std::uint8_t size) { return size < kDcSizes; });
            if (!fits || !(dc_[one.dc].made() || dc_[one.dc].make(values)) ||
                !(ac_[one.ac].made() || ac_[one.ac].make(*header.ac[one.ac]))) {
                return {};
            }
            const auto count = static_cast<std::size_t>(one.across * one.down);
            blocks.insert(blocks.end(), count, Block{&dc_[one.dc], &ac_[one.ac], i});
        }
        return blocks;
    }

  private:
    std::array<Huffman, 4> dc_;
    std::array<AcSkipper, 4> ac_;
};

// Adds a block's difference from the DC value before (T.81 F.2.2.1) to `value`. False where no code is.
[[gnu::always_inline]] inline bool read_difference(BitReader& reader, const Huffman& table, std::int64_t& value) {
    const Huffman::Found found = table.find(reader.peek(16));
    reader.refill();
    if (found.length == 0) return false;
    reader.skip(found.length);
    const int size = found.symbol;
    const auto bits = static_cast<int>(reader.peek_any(size));
    // Without a branch, which half of the blocks would take the wrong way: the lower half of a size is negative.
    const int negative = static_cast<int>((static_cast<unsigned>(bits) << (32 - 1 - size) >> 30U) & 1U) - 1;
    value += bits - (((1 << size) - 1) & negative);
    reader.skip(size);
    return true;
}

bool write_difference(BitWriter& writer, std::int64_t value) {
    int size = 0;
    for (auto rest = static_cast<std::uint64_t>(value < 0 ? -value : value); rest != 0; rest >>= 1U) ++size;
    if (size >= kDcSizes) return false;
    const auto place = static_cast<std::size_t>(size);
    writer.put(kDcCodes[place], kDcLengths[place]);
    writer.put(static_cast<std::uint32_t>(value < 0 ? value - 1 : value), size);
    return true;
}

// Goes through the MCUs of a scan, first to last; some may be jumped over where there are restart markers.
class Scan {
  public:
    // restart: MCUs between restart markers, 0 without them.
    Scan(Source source, const std::vector<Block>& blocks, int restart)
        : source_(std::move(source)), blocks_(blocks), restart_(static_cast<std::size_t>(restart)) {}

    // To MCU `number`, from an earlier one. False where the data are damaged, or end before.
    bool go_to(std::size_t number) {
        if (interval_of(number) > interval_of(next_)) next_ = interval_of(number) * restart_;
        return pass<false>(number - next_, nullptr);
    }

    // Copies the next MCUs, so that they can begin a restart interval.
    bool copy(std::size_t count, BitWriter& writer) { return pass<true>(count, &writer); }

  private:
    // Damaged files may sum up to more than 32 bits hold.
    using Values = std::array<std::int64_t, 3>;

    [[nodiscard]] std::size_t interval_of(std::size_t number) const { return restart_ > 0 ? number / restart_ : 0; }

    template <bool copying>
    bool pass(std::size_t count, BitWriter* writer) {
        Values written{};
        while (count > 0) {
            if (!enter(interval_of(next_))) return false;
            const std::size_t some = restart_ > 0 ? std::min(count, restart_ - next_ % restart_) : count;
            if (!run<copying>(some, writer, written)) return false;
            next_ += some;
            count -= some;
        }
        return true;
    }

    // To the start of a restart interval, if it is not the one in which the reader is; there DC values begin at 0
    // again.
    bool enter(std::size_t interval) {
        if (begun_ && interval == interval_) return true;
        if (!source_.leave(interval - interval_, interval_)) return false;
        source_.begin();
        reader_ = BitReader(source_.data());
        reader_.refill();
        values_ = {};
        interval_ = interval;
        begun_ = true;
        return true;
    }

    // MCUs of one restart interval. Reader and values are the function's own, which keeps them in registers: twice as
    // fast as by way of members.
    template <bool copying>
    [[gnu::noinline]] bool run(std::size_t count, [[maybe_unused]] BitWriter* writer,
                               [[maybe_unused]] Values& written) {
        BitReader reader = reader_;
        Values values = values_;
        std::size_t limit = source_.limit();
        for (; count > 0; --count) {
            for (const Block& block : blocks_) {
                std::int64_t& value = values[block.component];
                if (!read_difference(reader, *block.dc, value)) return false;
                [[maybe_unused]] const std::size_t from = reader.position();
                if (!block.ac->skip(reader)) return false;
                if constexpr (copying) {
                    std::int64_t& before = written[block.component];
                    if (!write_difference(*writer, value - before)) return false;
                    before = value;
                    writer->copy(source_.data(), from, reader.position());
                }
            }
            if (reader.position() <= limit) continue;
            if (source_.ended()) return false;
            const std::size_t used = reader.position() / 8;
            source_.slide(used);
            reader.back(used);
            limit = source_.limit();
        }
        reader_ = reader;
        values_ = values;
        return true;
    }

    Source source_;
    const std::vector<Block>& blocks_;
    const std::size_t restart_;
    BitReader reader_{nullptr};
    bool begun_ = false;
    std::size_t interval_ = 0;
    std::size_t next_ = 0;  // MCU
    Values values_{};
};

void put(std::string& file, std::initializer_list<int> bytes) {
    for (const int byte : bytes) file.push_back(static_cast<char>(byte));
}

void put_table(std::string& file, int place, const Codes& codes) {
    const std::size_t length = 19 + codes.symbols.size();
    put(file, {0xFF, 0xC4, static_cast<int>(length >> 8U), static_cast<int>(length & 255U), place});
    file.append(codes.counts.begin(), codes.counts.end());
    file.append(codes.symbols.begin(), codes.symbols.end());
}

// All segments of a cut of that size, whose rows of `across` MCUs each are a restart interval.
std::string segments(const Header& header, int width, int height, int across) {
    std::string file;
    put(file, {0xFF, 0xD8});
    file += header.kept;
    const int count = static_cast<int>(header.components.size());
    put(file, {0xFF, header.frame, 0, 8 + 3 * count, 8, height >> 8, height & 255, width >> 8, width & 255, count});
    for (const Component& one : header.components) put(file, {one.id, one.sampling, one.quantisation});
    Codes dc;
    dc.counts = kDcCounts;
    for (int size = 0; size < kDcSizes; ++size) dc.symbols.push_back(static_cast<std::uint8_t>(size));
    put_table(file, 0, dc);
    for (std::size_t place = 0; place < header.ac.size(); ++place) {
        if (header.ac[place]) put_table(file, 0x10 + static_cast<int>(place), *header.ac[place]);
    }
    put(file, {0xFF, 0xDD, 0, 4, across >> 8, across & 255});
    put(file, {0xFF, 0xDA, 0, 6 + 2 * count, count});
    for (const Component& one : header.components) put(file, {one.id, one.ac});
    put(file, {0, 63, 0});
    return file;
}

bool inside(const Region& region, const Header& header) {
    return region.left >= 0 && region.top >= 0 && region.left < region.right && region.top < region.bottom &&
           region.right <= header.width && region.bottom <= header.height;
}

// In MCUs: the region, and a value of the most coarsely sampled colour around it.
Region units(const Region& region, const Header& header) {
    const int x = header.mcu_width / 8;
    const int y = header.mcu_height / 8;
    const int right = std::min(region.right + x, header.width);
    const int bottom = std::min(region.bottom + y, header.height);
    Region mcus{std::max(region.left - x, 0) / header.mcu_width, std::max(region.top - y, 0) / header.mcu_height,
                (right + header.mcu_width - 1) / header.mcu_width,
                (bottom + header.mcu_height - 1) / header.mcu_height};
    // libjpeg smooths no colour that is at most two values wide, as the last column of MCUs may be.
    const bool narrow = std::min(mcus.right * header.mcu_width, header.width) - mcus.left * header.mcu_width <= 2 * x;
    if (narrow && mcus.left > 0) --mcus.left;
    return mcus;
}

}  // namespace

std::optional<Cut> cut(std::string_view file, Region region) {
    const std::optional<Header> header = read_header(file);
    if (!header || !inside(region, *header)) return std::nullopt;
    Tables tables;
    const std::vector<Block> blocks = tables.make(*header);
    if (blocks.empty()) return std::nullopt;

    const Region mcus = units(region, *header);
    const Region held{mcus.left * header->mcu_width, mcus.top * header->mcu_height,
                      std::min(mcus.right * header->mcu_width, header->width),
                      std::min(mcus.bottom * header->mcu_height, header->height)};
    std::string out = segments(*header, held.right - held.left, held.bottom - held.top, mcus.right - mcus.left);
    BitWriter writer(out);
    Scan scan(Source(file, header->data), blocks, header->restart);
    const int row_length = (header->width + header->mcu_width - 1) / header->mcu_width;
    for (int row = mcus.top; row < mcus.bottom; ++row) {
        if (row > mcus.top) {
            writer.align();
            put(out, {0xFF, kRestart0 + (row - mcus.top - 1) % 8});
        }
        if (!scan.go_to(static_cast<std::size_t>(row * row_length + mcus.left))) return std::nullopt;
        if (!scan.copy(static_cast<std::size_t>(mcus.right - mcus.left), writer)) return std::nullopt;
    }
    writer.align();
    put(out, {0xFF, 0xD9});
    return Cut{std::move(out), held};
}

}  // namespace emonet::jpeg

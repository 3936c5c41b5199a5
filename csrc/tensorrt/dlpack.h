// The part of DLPack's C interface that we use (https://dmlc.github.io/dlpack, version 0.x structs, "dltensor").
#pragma once

#include <cstdint>

namespace emonet::dlpack {

constexpr std::int32_t kCuda = 2;
constexpr std::uint8_t kUInt = 1, kFloat = 2, kBfloat = 4;

struct Tensor {
    void* data;
    struct {
        std::int32_t type, index;
    } device;
    std::int32_t ndim;
    struct {
        std::uint8_t code, bits;
        std::uint16_t lanes;
    } dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null for C order
    std::uint64_t byte_offset;
};

struct Managed {
    Tensor tensor;
    void* context;
    void (*deleter)(Managed*);
};

}  // namespace emonet::dlpack

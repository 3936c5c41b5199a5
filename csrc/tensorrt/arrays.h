// Arrays at the border to Python: takes GPU arrays of any library, gives views of GPU memory, and copies nothing.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "buffers.h"
#include "cuda.h"

namespace emonet {

// GPU memory with a shape. owner: keeps it alive. ready: the event on `stream` after which the values are there, or
// nullptr; whoever takes the array on another stream is made to wait for it. lease: where the memory goes back to
// Buffers, which are told of other streams; else nullptr.
struct Array {
    std::shared_ptr<const Device> device;
    std::shared_ptr<const void> owner;
    Address address;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::shared_ptr<const Event> ready = nullptr;
    StreamHandle stream = nullptr;
    std::shared_ptr<Lease> lease = nullptr;

    std::size_t bytes() const;
    // Makes `other` wait until the values are there.
    void hold(StreamHandle other) const;
};

// Views an array without a copy. obj: anything with __dlpack__ or __cuda_array_interface__. stream: where the work on
// it will be queued; it is made to wait for the data. Throws Error when obj is no C-contiguous array on this device, or
// has a dtype that we do not know.
Array take(const std::shared_ptr<const Device>& device, const pybind11::object& obj, StreamHandle stream);

// Adds __dlpack__, __dlpack_device__, __cuda_array_interface__ and the fields to the class of Array.
void bind_arrays(pybind11::module_& module);

}  // namespace emonet

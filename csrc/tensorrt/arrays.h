// Arrays at the border to Python: GPU arrays of any library in, views of GPU memory out. Nothing is copied.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda.h"

namespace emonet {

// GPU memory with a shape. owner keeps it alive. ready: where its values come to be there on a stream of their own, the
// point after which they are; whoever takes it on another stream is made to wait for that.
struct Array {
    std::shared_ptr<const Device> device;
    std::shared_ptr<const void> owner;
    Address address;
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::shared_ptr<const Event> ready = nullptr;
    StreamHandle stream = nullptr;

    std::size_t bytes() const;
    // Makes `other` wait until the values are there.
    void hold(StreamHandle other) const;
};

// obj: anything with __dlpack__ or __cuda_array_interface__. stream: where the work on it will be queued; the producer
// makes it wait for the data. Throws Error: it is no C-contiguous array on this device, or of a dtype we do not know.
Array take(const std::shared_ptr<const Device>& device, const pybind11::object& obj, StreamHandle stream);

// Adds __dlpack__, __dlpack_device__, __cuda_array_interface__ and the fields to the class of Array.
void bind_arrays(pybind11::module_& module);

}  // namespace emonet

#include "arrays.h"

#include <array>
#include <cstdint>

#include "error.h"
#include "shape.h"

namespace py = pybind11;

namespace emonet {

namespace {

// The part of DLPack's C interface that we use (https://dmlc.github.io/dlpack, version 0.x structs, "dltensor").
namespace dlpack {

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

}  // namespace dlpack

struct Kind {
    const char* dtype;    // numpy's name
    const char* typestr;  // of __cuda_array_interface__, "" where it has none
    std::uint8_t code;    // of DLPack
    std::uint8_t bits;
};

constexpr std::array<Kind, 4> kKinds{{{"uint8", "|u1", dlpack::kUInt, 8},
                                      {"float32", "<f4", dlpack::kFloat, 32},
                                      {"float16", "<f2", dlpack::kFloat, 16},
                                      {"bfloat16", "", dlpack::kBfloat, 16}}};

const Kind& kind_of(const std::string& dtype) {
    for (const Kind& kind : kKinds) {
        if (dtype == kind.dtype) return kind;
    }
    throw Error("an array has dtype " + dtype + "; expected uint8, float32, float16 or bfloat16");
}

std::string dtype_of(const dlpack::Tensor& tensor) {
    for (const Kind& kind : kKinds) {
        if (tensor.dtype.code == kind.code && tensor.dtype.bits == kind.bits && tensor.dtype.lanes == 1) {
            return kind.dtype;
        }
    }
    throw Error("an array has a dtype that the engine cannot take; expected uint8, float32, float16 or bfloat16");
}

void need_contiguous(bool contiguous) {
    if (!contiguous) throw Error("an array is not contiguous; expected C order without gaps: make it contiguous first");
}

// DLPack's names of a stream: 1 and 2 are the default streams, 0 is forbidden.
std::intptr_t dlpack_stream(StreamHandle stream) {
    const auto handle = reinterpret_cast<std::intptr_t>(stream);
    return handle == 0 ? 1 : handle;
}

Array take_dlpack(const std::shared_ptr<const Device>& device, const py::object& obj, StreamHandle stream) {
    const auto place = obj.attr("__dlpack_device__")().cast<std::pair<int, int>>();
    if (place.first != dlpack::kCuda || place.second != device->index()) {
        throw Error("an array lies on DLPack device " + std::to_string(place.first) + ":" +
                    std::to_string(place.second) + "; expected the GPU cuda:" + std::to_string(device->index()) +
                    " (2:" + std::to_string(device->index()) + ")");
    }
    const py::object capsule = obj.attr("__dlpack__")(py::arg("stream") = dlpack_stream(stream));
    auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    if (managed == nullptr) throw py::error_already_set();
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");
    // The producer's deleter may touch Python objects.
    const std::shared_ptr<const void> owner(managed, [](const dlpack::Managed* held) {
        const py::gil_scoped_acquire gil;
        if (held->deleter != nullptr) held->deleter(const_cast<dlpack::Managed*>(held));
    });
    const dlpack::Tensor& tensor = managed->tensor;
    const std::string dtype = dtype_of(tensor);
    const std::size_t axes = tensor.ndim < 0 ? kMostAxes + 1 : static_cast<std::size_t>(tensor.ndim);
    checked_bytes(tensor.shape, axes, kind_of(dtype).bits / 8);
    need_contiguous(tensor.strides == nullptr || in_c_order(tensor.shape, tensor.strides, axes, 1));
    return {device, owner, reinterpret_cast<Address>(tensor.data) + tensor.byte_offset, dtype,
            std::vector<std::int64_t>(tensor.shape, tensor.shape + axes)};
}

void wait_for_producer(const std::shared_ptr<const Device>& device, const py::dict& interface, StreamHandle stream) {
    if (!interface.contains("stream") || interface["stream"].is_none()) return;
    const auto handle = reinterpret_cast<StreamHandle>(interface["stream"].cast<std::intptr_t>());
    const Event ready(device);
    ready.record(handle);
    ready.hold(stream);
}

Array take_interface(const std::shared_ptr<const Device>& device, const py::object& obj, StreamHandle stream) {
    const py::dict interface = obj.attr("__cuda_array_interface__");
    const auto shape = interface["shape"].cast<std::vector<std::int64_t>>();
    const auto typestr = interface["typestr"].cast<std::string>();
    const auto address = interface["data"].cast<py::tuple>()[0].cast<Address>();
    std::string dtype;
    for (const Kind& kind : kKinds) {
        if (typestr == kind.typestr) dtype = kind.dtype;
    }
    if (dtype.empty()) throw Error("an array has type " + typestr + "; expected |u1, <f4 or <f2");
    if (interface.contains("mask") && !interface["mask"].is_none()) {
        throw Error("an array has a mask; expected one whose values all count");
    }
    const std::int64_t item = kind_of(dtype).bits / 8;
    checked_bytes(shape.data(), shape.size(), item);
    if (interface.contains("strides") && !interface["strides"].is_none()) {
        const auto strides = interface["strides"].cast<std::vector<std::int64_t>>();
        need_contiguous(strides.size() == shape.size() && in_c_order(shape.data(), strides.data(), shape.size(), item));
    }
    auto* held = new py::object(obj);
    const std::shared_ptr<const void> owner(held, [](const py::object* kept) {
        const py::gil_scoped_acquire gil;
        delete kept;
    });
    Array found{device, owner, address, dtype, shape};
    const int where = found.bytes() == 0 ? device->index() : device->owner_of(address);
    if (where != device->index()) {
        throw Error("an array lies on cuda:" + std::to_string(where) +
                    ", the engine on cuda:" + std::to_string(device->index()) + "; copy it there first");
    }
    wait_for_producer(device, interface, stream);
    return found;
}

// stream: of the consumer, as DLPack names it: None is the legacy default stream, -1 asks for no waiting.
void hold_consumer(const Array& array, const py::object& stream) {
    const std::intptr_t handle = stream.is_none() ? 1 : stream.cast<std::intptr_t>();
    if (handle != -1) {
        array.hold(reinterpret_cast<StreamHandle>(handle));
    } else if (array.lease != nullptr) {
        array.lease->share();
    }
}

void need_view(const Array& array, const py::kwargs& asked) {
    const auto given = [&asked](const char* name) { return asked.contains(name) && !asked[name].is_none(); };
    if (given("copy") && asked["copy"].cast<bool>()) throw py::buffer_error("this array gives views, and no copies");
    if (!given("dl_device")) return;
    const auto device = asked["dl_device"].cast<std::pair<int, int>>();
    if (device != std::make_pair(dlpack::kCuda, array.device->index())) {
        throw py::buffer_error("this array lies on cuda:" + std::to_string(array.device->index()) +
                               " and is not copied elsewhere");
    }
}

// A capsule of its own for each call: DLPack's consumer frees it.
py::capsule to_dlpack(const Array& array, const py::object& stream, const py::kwargs& asked) {
    need_view(array, asked);
    hold_consumer(array, stream);
    struct Held {
        Array array;
        dlpack::Managed managed;
    };
    const Kind& kind = kind_of(array.dtype);
    auto* held = new Held{array, {}};
    held->managed.tensor = {reinterpret_cast<void*>(held->array.address),
                            {dlpack::kCuda, array.device->index()},
                            static_cast<std::int32_t>(array.shape.size()),
                            {kind.code, kind.bits, 1},
                            held->array.shape.data(),
                            nullptr,
                            0};
    held->managed.context = held;
    held->managed.deleter = [](dlpack::Managed* managed) { delete static_cast<Held*>(managed->context); };
    return py::capsule(&held->managed, "dltensor", [](PyObject* capsule) {
        // A consumer that took it has renamed it.
        if (PyCapsule_IsValid(capsule, "dltensor") == 0) return;
        auto* managed = static_cast<dlpack::Managed*>(PyCapsule_GetPointer(capsule, "dltensor"));
        managed->deleter(managed);
    });
}

py::dict to_interface(const Array& array) {
    const Kind& kind = kind_of(array.dtype);
    if (*kind.typestr == '\0') throw Error("__cuda_array_interface__ has no bfloat16; use __dlpack__");
    if (array.lease != nullptr) array.lease->share();  // on whichever stream it is read
    py::dict out;
    out["shape"] = py::tuple(py::cast(array.shape));
    out["typestr"] = kind.typestr;
    out["data"] = py::make_tuple(array.address, false);
    out["version"] = 3;
    if (array.ready != nullptr) out["stream"] = dlpack_stream(array.stream);  // both forbid 0
    return out;
}

Array rows(const Array& array, std::int64_t first, std::int64_t end) {
    if (array.shape.empty() || first < 0 || first > end || end > array.shape.front()) {
        throw Error("rows " + std::to_string(first) + " to " + std::to_string(end) + " are not within the array");
    }
    Array view = array;
    const std::size_t each = array.shape.front() == 0 ? 0 : array.bytes() / static_cast<std::size_t>(array.shape[0]);
    view.address += static_cast<std::size_t>(first) * each;
    view.shape.front() = end - first;
    return view;
}

}  // namespace

std::size_t Array::bytes() const {
    return static_cast<std::size_t>(checked_bytes(shape.data(), shape.size(), kind_of(dtype).bits / 8));
}

void Array::hold(StreamHandle other) const {
    // 1 is another name of the legacy default stream.
    const auto named = [](StreamHandle one) { return one == reinterpret_cast<StreamHandle>(1) ? nullptr : one; };
    if (named(other) == named(stream)) return;
    if (lease != nullptr) lease->share();
    if (ready != nullptr) ready->hold(other);
}

Array take(const std::shared_ptr<const Device>& device, const py::object& obj, StreamHandle stream) {
    if (py::isinstance<Array>(obj)) {
        auto own = obj.cast<Array>();
        own.hold(stream);
        return own;
    }
    if (py::hasattr(obj, "__dlpack__")) return take_dlpack(device, obj, stream);
    if (py::hasattr(obj, "__cuda_array_interface__")) return take_interface(device, obj, stream);
    throw Error("an object of type " + py::str(py::type::of(obj).attr("__name__")).cast<std::string>() +
                " has neither __dlpack__ nor __cuda_array_interface__; expected an array on the GPU");
}

void bind_arrays(py::module_& module) {
    py::class_<Array>(module, "Array",
                      "Memory on a GPU: address, dtype and shape; a view by DLPack or CUDA's interface.")
        .def_readonly("address", &Array::address)
        .def_readonly("dtype", &Array::dtype)
        .def_property_readonly("shape", [](const Array& a) { return py::tuple(py::cast(a.shape)); })
        .def(
            "rows", [](const Array& a, std::int64_t first, std::int64_t end) { return rows(a, first, end); },
            py::arg("first"), py::arg("end"), "A view of rows first to end.")
        .def("__len__", [](const Array& a) { return a.shape.empty() ? 0 : a.shape.front(); })
        .def("__dlpack__", &to_dlpack, py::arg("stream") = py::none(),
             "A view; the consumer's stream is made to wait for the values.")
        .def(
            "mark_ready",
            [](Array& a, std::shared_ptr<const Event> ready, std::intptr_t stream) {
                a.ready = std::move(ready);
                a.stream = reinterpret_cast<StreamHandle>(stream);
            },
            py::arg("ready"), py::arg("stream"), "Its values are there after this event, recorded on this stream.")
        .def("__dlpack_device__", [](const Array& a) { return py::make_tuple(dlpack::kCuda, a.device->index()); })
        .def_property_readonly("__cuda_array_interface__", &to_interface);
}

}  // namespace emonet

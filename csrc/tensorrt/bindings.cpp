// What Python sees: a table of contents. Whatever takes time runs without Python's lock.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "arrays.h"
#include "buffers.h"
#include "builder.h"
#include "engine.h"
#include "error.h"

namespace py = pybind11;
using namespace emonet;
using Unlocked = py::call_guard<py::gil_scoped_release>;

namespace {

StreamHandle handle_of(std::intptr_t stream) { return reinterpret_cast<StreamHandle>(stream); }

// sink: a Python callable (level, message), or None.
Logger::Sink sink_of(const py::object& sink) {
    if (sink.is_none()) return {};
    // Whichever thread holds and drops it, it does so under Python's lock.
    const std::shared_ptr<py::object> held(new py::object(sink), [](py::object* kept) {
        const py::gil_scoped_acquire gil;
        delete kept;
    });
    return [held](Level level, const std::string& message) {
        const py::gil_scoped_acquire gil;
        try {
            (*held)(static_cast<int>(level), message);
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("TensorRT's log");
        }
    };
}

std::shared_ptr<Engine> make_engine(const std::shared_ptr<TensorRt>& tensorrt, const std::shared_ptr<Device>& device,
                                    const py::buffer& blob, const py::object& sink) {
    const py::buffer_info info = blob.request();
    const auto bytes = static_cast<std::size_t>(info.size * info.itemsize);
    Logger::Sink made = sink_of(sink);
    const py::gil_scoped_release unlocked;
    return std::make_shared<Engine>(tensorrt, device, std::move(made), info.ptr, bytes);
}

py::tuple build_engine(const TensorRt& tensorrt, const Device& device, const std::string& onnx,
                       const std::vector<std::int64_t>& batch_sizes, const py::bytes& timing_cache,
                       const py::object& sink, const py::object& progress) {
    const BuildOrder order{onnx, batch_sizes, timing_cache};
    const auto told = progress.is_none() ? BuildProgress{} : progress.cast<BuildProgress>();
    Logger logger(sink_of(sink));
    Built built;
    {
        const py::gil_scoped_release unlocked;
        built = build(tensorrt, device, logger, order, told);
    }
    return py::make_tuple(py::bytes(built.engine), py::bytes(built.timing_cache));
}

// Frees memory without Python's lock, where the thread holds it: the driver may wait for the whole GPU.
template <typename Held>
std::shared_ptr<Held> freed_unlocked(std::shared_ptr<Held> held) {
    Held* const inside = held.get();
    auto* const kept = new std::shared_ptr<Held>(std::move(held));
    return {inside, [kept](Held*) {
                if (Py_IsInitialized() != 0 && PyGILState_Check() == 1) {
                    const py::gil_scoped_release unlocked;
                    delete kept;
                } else {
                    delete kept;
                }
            }};
}

// A new array on the GPU.
Array new_array(const std::shared_ptr<Device>& device, const std::vector<std::int64_t>& shape,
                const std::string& dtype) {
    Array array{device, nullptr, 0, dtype, shape};
    const auto memory = std::make_shared<Memory>(device, array.bytes(), Memory::Place::kDevice);
    array.owner = freed_unlocked(memory);
    array.address = memory->address();
    return array;
}

// An array in memory that goes back to `buffers`, for work on `stream`.
Array lent_array(Buffers& buffers, const std::shared_ptr<Device>& device, const std::vector<std::int64_t>& shape,
                 const std::string& dtype, std::intptr_t stream) {
    Array array{device, nullptr, 0, dtype, shape};
    array.lease = freed_unlocked(buffers.lend(array.bytes(), handle_of(stream)));
    array.owner = array.lease;
    array.address = array.lease->address();
    array.stream = handle_of(stream);
    return array;
}

// A numpy array in pinned memory: copies to and from it do not block the host.
py::array new_pinned(const std::shared_ptr<Device>& device, const std::vector<py::ssize_t>& shape,
                     const py::dtype& dtype) {
    std::size_t bytes = static_cast<std::size_t>(dtype.itemsize());
    for (const py::ssize_t size : shape) bytes *= static_cast<std::size_t>(size);
    auto* memory = new Memory(device, bytes, Memory::Place::kPinned);
    const py::capsule owner(memory, [](void* held) { delete static_cast<Memory*>(held); });
    return py::array(dtype, shape, memory->host(), owner);
}

void need_host(const py::array& array, std::size_t expected) {
    if (static_cast<std::size_t>(array.nbytes()) != expected) {
        throw Error("the array on the host has " + std::to_string(array.nbytes()) + " bytes; expected " +
                    std::to_string(expected));
    }
    if ((array.flags() & py::array::c_style) == 0) throw Error("the array on the host is not contiguous");
}

void upload(const Device& device, const Array& to, const py::array& from, std::intptr_t stream) {
    need_host(from, to.bytes());
    const void* data = from.data();
    const py::gil_scoped_release unlocked;
    const Current current(device);
    device.cuda().check(device.cuda().to_device(to.address, data, to.bytes(), handle_of(stream)), "cuMemcpyHtoDAsync");
}

void download(const Device& device, py::array& to, const Array& from, std::intptr_t stream) {
    need_host(to, from.bytes());
    void* data = to.mutable_data();
    const py::gil_scoped_release unlocked;
    const Current current(device);
    device.cuda().check(device.cuda().to_host(data, from.address, from.bytes(), handle_of(stream)),
                        "cuMemcpyDtoHAsync");
}

void bind_cuda(py::module_& m) {
    py::class_<Cuda, std::shared_ptr<Cuda>>(m, "Cuda", "NVIDIA's driver, opened from the first of `candidates`.")
        .def(py::init<const std::vector<std::string>&>(), py::arg("candidates"), Unlocked());
    py::class_<Device, std::shared_ptr<Device>>(m, "Device", "One GPU, by its number.")
        .def(py::init<std::shared_ptr<const Cuda>, int>(), py::arg("cuda"), py::arg("index"), Unlocked())
        .def_property_readonly("index", &Device::index)
        .def_property_readonly("name", &Device::name)
        .def_property_readonly("capability", &Device::capability)
        .def("memory", &Device::memory, "(free, total) bytes.")
        .def("synchronize", &Device::wait_all, Unlocked(), "Waits for all work on the GPU.")
        .def("array", &new_array, py::arg("shape"), py::arg("dtype"), "New memory on the GPU.")
        .def("pinned", &new_pinned, py::arg("shape"), py::arg("dtype"), "A numpy array in pinned memory.")
        .def("upload", &upload, py::arg("to"), py::arg("source"), py::arg("stream"), "Queues a copy to the GPU.")
        .def("download", &download, py::arg("to"), py::arg("source"), py::arg("stream"), "Queues a copy to the host.")
        .def(
            "take",
            [](const std::shared_ptr<Device>& self, const py::object& array, std::intptr_t stream) {
                return take(self, array, handle_of(stream));
            },
            py::arg("array"), py::arg("stream"), "A view of anybody's array on this GPU, without a copy.");
    py::class_<Stream>(m, "Stream", "A stream of work that waits for no default stream.")
        .def(py::init([](const std::shared_ptr<Device>& device) { return std::make_unique<Stream>(device); }))
        .def_property_readonly("handle", [](const Stream& s) { return reinterpret_cast<std::intptr_t>(s.handle()); })
        .def("synchronize", &Stream::wait_all, Unlocked());
    py::class_<Event, std::shared_ptr<Event>>(m, "Event", "A point in a stream.")
        .def(py::init([](const std::shared_ptr<Device>& device) { return std::make_shared<Event>(device); }))
        .def(
            "record", [](const Event& e, std::intptr_t stream) { e.record(handle_of(stream)); }, Unlocked())
        .def(
            "hold", [](const Event& e, std::intptr_t stream) { e.hold(handle_of(stream)); }, Unlocked())
        .def("synchronize", &Event::wait, Unlocked())
        .def("query", &Event::done, Unlocked(), "Whether what was recorded is done.");
    py::class_<Buffers, std::shared_ptr<Buffers>>(m, "Buffers", "Memory on the GPU that is used again.")
        .def(py::init([](const std::shared_ptr<Device>& device) { return std::make_shared<Buffers>(device); }))
        .def("array", &lent_array, py::arg("device"), py::arg("shape"), py::arg("dtype"), py::arg("stream"),
             "Memory for work on a stream. It serves the next such call when the array and its views are gone.");
}

void bind_tensorrt(py::module_& m) {
    py::class_<TensorRt, std::shared_ptr<TensorRt>>(m, "TensorRt", "TensorRT's libraries, opened from candidates.")
        .def(py::init<const std::vector<std::string>&, const std::vector<std::string>&>(), py::arg("nvinfer"),
             py::arg("parser"), Unlocked())
        .def_property_readonly("version",
                               [](const TensorRt& t) {
                                   const Version v = t.version();
                                   return py::make_tuple(v.major, v.minor, v.patch);
                               })
        .def_property_readonly("path", &TensorRt::path)
        .def_property_readonly("build_fault", &TensorRt::build_fault);
    py::class_<Tensor>(m, "Tensor", "An input or output of an engine; row: its shape without the batch.")
        .def_readonly("name", &Tensor::name)
        .def_readonly("input", &Tensor::input)
        .def_readonly("dtype", &Tensor::dtype)
        .def_property_readonly("row", [](const Tensor& t) { return py::tuple(py::cast(t.row)); });
    py::class_<Engine, std::shared_ptr<Engine>>(m, "Engine", "One engine on one GPU; thread-safe.")
        .def(py::init(&make_engine), py::arg("tensorrt"), py::arg("device"), py::arg("blob"),
             py::arg("sink") = py::none())
        .def_property_readonly("tensors", &Engine::tensors)
        .def_property_readonly("batch_sizes", &Engine::batch_sizes)
        .def("captured", &Engine::captured, Unlocked(), "The batch sizes whose graph is captured.")
        .def("in_place", &Engine::in_place, Unlocked(), "How many graphs read a caller's buffer where it lies.")
        .def_property_readonly("buffer_bytes", &Engine::buffer_bytes)
        .def("size_for", &Engine::size_for, py::arg("n"))
        .def("prepare", &Engine::prepare, py::arg("n"), Unlocked())
        .def(
            "run",
            [](Engine& self, Address input, std::int64_t n, const std::vector<Address>& outputs, std::intptr_t stream) {
                self.run(input, n, outputs, handle_of(stream));
            },
            py::arg("input"), py::arg("n"), py::arg("outputs"), py::arg("stream"), Unlocked(),
            "Queues n rows on a stream, from an address to addresses; see engine.h.")
        .def("inspect", &Engine::inspect, Unlocked());
    m.def("build", &build_engine, py::arg("tensorrt"), py::arg("device"), py::arg("onnx"), py::arg("batch_sizes"),
          py::arg("timing_cache"), py::arg("sink"), py::arg("progress"),
          "(engine, timing cache) as bytes, of an ONNX file.");
}

}  // namespace

PYBIND11_MODULE(_tensorrt, m) {
    m.doc() = "TensorRT engines: libraries opened at run time, device pointers and a stream inside.";
    py::register_exception<Error>(m, "TensorRtError", PyExc_RuntimeError);
    m.attr("header_version") = py::make_tuple(kHeaderMajor, kHeaderMinor);
    bind_cuda(m);
    bind_arrays(m);
    bind_tensorrt(m);
}

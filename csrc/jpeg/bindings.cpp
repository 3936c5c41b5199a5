// What Python sees.
#include <pybind11/pybind11.h>

#include "cut.h"

namespace py = pybind11;

namespace {

py::object cut(const py::bytes& file, int left, int top, int right, int bottom) {
    const auto view = static_cast<std::string_view>(file);
    std::optional<emonet::jpeg::Cut> found;
    {
        const py::gil_scoped_release unlocked;
        found = emonet::jpeg::cut(view, {left, top, right, bottom});
    }
    if (!found) return py::none();
    const emonet::jpeg::Region& held = found->held;
    return py::make_tuple(py::bytes(found->file), held.left, held.top, held.right, held.bottom);
}

}  // namespace

PYBIND11_MODULE(_jpeg, module) {
    module.doc() = "Cuts regions out of JPEG files without decoding them. See emonet_fast.decoders.dali.cutting.";
    module.def("cut", &cut, py::arg("file"), py::arg("left"), py::arg("top"), py::arg("right"), py::arg("bottom"),
               "The file (bytes), left, top, right, bottom of a JPEG that holds this region of a JPEG; None where it "
               "cannot be cut.");
}

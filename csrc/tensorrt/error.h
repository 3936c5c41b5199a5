// The one exception of this extension. Its text says what came, what was expected and what to do.
#pragma once

#include <stdexcept>
#include <string>

namespace emonet {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace emonet

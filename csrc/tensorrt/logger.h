// Hands TensorRT's messages to a sink, and keeps the last errors for the text of an exception.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "version.h"

namespace emonet {

// The numbers of Python's logging.
enum class Level { kError = 40, kWarning = 30, kInfo = 20, kVerbose = 10 };

// Must outlive every TensorRT object that was made with it. TensorRT calls it from any of its threads.
class Logger final : public nvinfer1::ILogger {
  public:
    using Sink = std::function<void(Level, const std::string&)>;

    // sink: may be empty; must not throw.
    explicit Logger(Sink sink) : sink_(std::move(sink)) {}

    void log(Severity severity, const nvinfer1::AsciiChar* message) noexcept override;
    void say(Level level, const std::string& message) noexcept;
    // The errors since the last call, as ": a; b", or "" where there were none.
    std::string errors();

  private:
    Sink sink_;
    std::mutex mutex_;
    std::vector<std::string> errors_;
};

}  // namespace emonet

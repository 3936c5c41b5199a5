#include "logger.h"

namespace emonet {

namespace {

// An engine that fails at every call must not fill the memory.
constexpr std::size_t kErrorsKept = 8;

Level level_of(nvinfer1::ILogger::Severity severity) {
    using Severity = nvinfer1::ILogger::Severity;
    switch (severity) {
        case Severity::kINTERNAL_ERROR:
        case Severity::kERROR:
            return Level::kError;
        case Severity::kWARNING:
            return Level::kWarning;
        case Severity::kINFO:
            return Level::kInfo;
        default:
            return Level::kVerbose;
    }
}

}  // namespace

void Logger::log(Severity severity, const nvinfer1::AsciiChar* message) noexcept {
    say(level_of(severity), message != nullptr ? message : "");
}

void Logger::say(Level level, const std::string& message) noexcept {
    try {
        if (level == Level::kError) {
            const std::lock_guard<std::mutex> hold(mutex_);
            if (errors_.size() < kErrorsKept) errors_.push_back(message);
        }
        // Outside of the lock: the sink may wait for Python's own lock.
        if (sink_) sink_(level, message);
    } catch (...) {
        // TensorRT calls this where nothing may be thrown, and a lost message must not end the process.
    }
}

std::string Logger::errors() {
    const std::lock_guard<std::mutex> hold(mutex_);
    std::string text;
    for (const std::string& error : errors_) text += (text.empty() ? ": " : "; ") + error;
    errors_.clear();
    return text;
}

}  // namespace emonet

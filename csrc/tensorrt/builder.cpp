#include "builder.h"

#include <atomic>
#include <map>
#include <mutex>

#include "error.h"

namespace emonet {

namespace {

// TensorRT's phases are nested; each has a count of its own.
class Monitor final : public nvinfer1::IProgressMonitor {
  public:
    explicit Monitor(const BuildProgress& progress) : progress_(progress) {}

    bool stopped() const { return stopped_; }

    void phaseStart(const char* phase, const char*, std::int32_t steps) noexcept override {
        {
            const std::lock_guard<std::mutex> hold(mutex_);
            steps_[phase] = steps;
        }
        tell(phase, 0, steps);
    }

    bool stepComplete(const char* phase, std::int32_t step) noexcept override {
        return tell(phase, step + 1, steps_of(phase));
    }

    void phaseFinish(const char* phase) noexcept override {
        const std::int32_t steps = steps_of(phase);
        tell(phase, steps, steps);
    }

  private:
    std::int32_t steps_of(const char* phase) noexcept {
        const std::lock_guard<std::mutex> hold(mutex_);
        const auto found = steps_.find(phase);
        return found == steps_.end() ? 0 : found->second;
    }

    bool tell(const char* phase, int done, int total) noexcept {
        try {
            if (progress_ && !progress_(phase, done, total)) stopped_ = true;
        } catch (...) {
            stopped_ = true;
        }
        return !stopped_;
    }

    const BuildProgress& progress_;
    std::mutex mutex_;
    std::map<std::string, std::int32_t> steps_;
    std::atomic<bool> stopped_{false};
};

// The network uses the parser's memory until it is built.
std::unique_ptr<nvonnxparser::IParser> parse(const TensorRt& tensorrt, nvinfer1::INetworkDefinition& network,
                                             Logger& logger, const std::string& path) {
    std::unique_ptr<nvonnxparser::IParser> parser = tensorrt.parser(network, logger);
    const auto verbosity = static_cast<int>(nvinfer1::ILogger::Severity::kWARNING);
    if (parser->parseFromFile(path.c_str(), verbosity)) return parser;
    std::string text = "TensorRT cannot read the network " + path;
    for (std::int32_t i = 0; i < parser->getNbErrors(); ++i) text += std::string("; ") + parser->getError(i)->desc();
    throw Error(text + logger.errors());
}

void add_profiles(nvinfer1::IBuilder& builder, nvinfer1::IBuilderConfig& config,
                  const nvinfer1::INetworkDefinition& network, const std::vector<std::int64_t>& sizes) {
    using Select = nvinfer1::OptProfileSelector;
    if (network.getNbInputs() != 1) {
        throw Error("the network has " + std::to_string(network.getNbInputs()) + " inputs; expected one");
    }
    const nvinfer1::ITensor* input = network.getInput(0);
    nvinfer1::Dims shape = input->getDimensions();
    for (const std::int64_t size : sizes) {
        nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
        shape.d[0] = size;
        bool accepted = profile != nullptr;
        for (const Select which : {Select::kMIN, Select::kOPT, Select::kMAX}) {
            accepted = accepted && profile->setDimensions(input->getName(), which, shape);
        }
        if (!accepted || config.addOptimizationProfile(profile) < 0) {
            throw Error("TensorRT refused an optimisation profile of batch size " + std::to_string(size));
        }
    }
}

}  // namespace

Built build(const TensorRt& tensorrt, const Device& device, Logger& logger, const BuildOrder& order,
            const BuildProgress& progress) {
    const Current current(device);
    const std::unique_ptr<nvinfer1::IBuilder> builder = tensorrt.builder(logger);
    const std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(network_flags()));
    const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
    if (network == nullptr || config == nullptr) throw Error("TensorRT could not make a network" + logger.errors());
    const std::unique_ptr<nvonnxparser::IParser> parser = parse(tensorrt, *network, logger, order.onnx);
    add_profiles(*builder, *config, *network, order.batch_sizes);
    Monitor monitor(progress);
    config->setProgressMonitor(&monitor);
    // Without this the inspector does not know every layer's precision.
    config->setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
    const std::unique_ptr<nvinfer1::ITimingCache> cache(
        config->createTimingCache(order.timing_cache.data(), order.timing_cache.size()));
    if (cache != nullptr && !config->setTimingCache(*cache, false)) {
        logger.say(Level::kWarning, "the timing cache is of another GPU or TensorRT and is not used");
    }
    const std::unique_ptr<nvinfer1::IHostMemory> engine(builder->buildSerializedNetwork(*network, *config));
    if (engine == nullptr) {
        throw Error((monitor.stopped() ? "the build was stopped" : "TensorRT found no engine for " + order.onnx) +
                    logger.errors());
    }
    Built built;
    built.engine.assign(static_cast<const char*>(engine->data()), engine->size());
    if (cache != nullptr) {
        const std::unique_ptr<nvinfer1::IHostMemory> times(cache->serialize());
        if (times != nullptr) built.timing_cache.assign(static_cast<const char*>(times->data()), times->size());
    }
    return built;
}

}  // namespace emonet

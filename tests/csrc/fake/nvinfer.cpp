// A TensorRT that computes nothing of worth, but row by row: output j of a row = its pixels' sum / 255 + j + 1000 * the
// output's number, or the answer that a test has given for these pixels.
//
// Its engines are text: "fake-engine", "size 4" for each profile, "input NAME 3 8 8", "output NAME 16", "layers JSON".
#include "NvInfer.h"

#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "control.h"
#include "network.h"

using namespace nvinfer1;

namespace {

Dims dims_of(std::int64_t batch, const std::vector<std::int64_t>& row) {
    Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(row.size()) + 1;
    dims.d[0] = batch;
    for (std::size_t i = 0; i < row.size(); ++i) dims.d[i + 1] = row[i];
    return dims;
}

std::size_t elements(const std::vector<std::int64_t>& row) {
    std::size_t sum = 1;
    for (const std::int64_t size : row) sum *= static_cast<std::size_t>(size);
    return sum;
}

struct Host final : IHostMemory {
    explicit Host(std::string text) : text_(std::move(text)) {}
    void* data() const noexcept override { return const_cast<char*>(text_.data()); }
    std::size_t size() const noexcept override { return text_.size(); }
    std::string text_;
};

struct Inspector final : IEngineInspector {
    explicit Inspector(std::string text) : text_(std::move(text)) {}
    const char* getEngineInformation(LayerInformationFormat format) const noexcept override {
        return format == LayerInformationFormat::kJSON ? text_.c_str() : nullptr;
    }
    std::string text_;
};

struct Plan {
    std::vector<std::int64_t> sizes;
    std::vector<fake::Value> values;
    std::string layers = R"({"Layers": []})";
};

class Context final : public IExecutionContext {
  public:
    Context(std::shared_ptr<const Plan> plan, ILogger& logger) : plan_(std::move(plan)), logger_(logger) {
        fake::made("context");
    }
    ~Context() noexcept override { fake::destroyed("context"); }
    bool setOptimizationProfileAsync(std::int32_t profile, cudaStream_t) noexcept override {
        if (fake::fails("profile")) return refuse("the profile cannot be set");
        profile_ = profile;
        return true;
    }
    void setDeviceMemoryV2(void* memory, std::int64_t size) noexcept override {
        scratch_ = memory != nullptr && size > 0;
    }
    bool setInputShape(const char* name, const Dims& dims) noexcept override {
        if (fake::fails("shape") || find(name) == nullptr || profile_ < 0) return refuse("the shape does not fit");
        if (dims.d[0] != plan_->sizes.at(static_cast<std::size_t>(profile_))) return refuse("not this profile's size");
        batch_ = static_cast<std::size_t>(dims.d[0]);
        return true;
    }
    bool setTensorAddress(const char* name, void* data) noexcept override {
        if (fake::fails("address") || find(name) == nullptr || data == nullptr) return refuse("no such tensor");
        if (reinterpret_cast<std::uintptr_t>(data) % 256 != 0) return refuse("the address is not aligned");
        addresses_[name] = data;
        return true;
    }
    bool enqueueV3(cudaStream_t stream) noexcept override {
        if (fake::fails("enqueue")) return refuse("a kernel could not be launched");
        if (batch_ == 0 || !scratch_ || addresses_.size() != plan_->values.size()) return refuse("not all is set");
        // What a launch takes with it is fixed now, as a graph's nodes are.
        fake::launch(stream,
                     [plan = plan_, addresses = addresses_, batch = batch_] { compute(*plan, addresses, batch); });
        return true;
    }

  private:
    static void compute(const Plan& plan, const std::map<std::string, void*>& addresses, std::size_t batch) {
        fake::begin_kernel();
        const bool wrong = fake::fails(("kernel of " + std::to_string(batch)).c_str());
        const fake::Value& input = plan.values.front();
        const std::size_t bytes = elements(input.row);
        const auto* pixels = static_cast<const unsigned char*>(addresses.at(input.name));
        for (std::size_t row = 0; row < batch; ++row, pixels += bytes) {
            double sum = 0;
            for (std::size_t i = 0; i < bytes; ++i) sum += pixels[i];
            for (std::size_t which = 1; which < plan.values.size(); ++which) {
                const std::size_t width = elements(plan.values[which].row);
                float* out = static_cast<float*>(addresses.at(plan.values[which].name)) + row * width;
                const float* known = fake::answer(pixels, bytes, which - 1);
                for (std::size_t j = 0; j < width; ++j) {
                    const double own = sum / 255 + static_cast<double>(j) + 1000.0 * static_cast<double>(which - 1);
                    out[j] = known != nullptr ? known[j] : static_cast<float>(own);
                    if (wrong) out[j] = std::numeric_limits<float>::quiet_NaN();
                }
            }
        }
    }
    const fake::Value* find(const char* name) const {
        for (const fake::Value& value : plan_->values) {
            if (value.name == name) return &value;
        }
        return nullptr;
    }
    bool refuse(const char* why) {
        logger_.log(ILogger::Severity::kERROR, why);
        return false;
    }

    std::shared_ptr<const Plan> plan_;
    ILogger& logger_;
    std::int32_t profile_ = -1;
    std::size_t batch_ = 0;
    bool scratch_ = false;
    std::map<std::string, void*> addresses_;
};

class Engine final : public ICudaEngine {
  public:
    Engine(std::shared_ptr<const Plan> plan, ILogger& logger) : plan_(std::move(plan)), logger_(logger) {
        fake::made("engine");
    }
    ~Engine() noexcept override { fake::destroyed("engine"); }
    std::int32_t getNbIOTensors() const noexcept override { return static_cast<std::int32_t>(plan_->values.size()); }
    const char* getIOTensorName(std::int32_t index) const noexcept override {
        // Outputs first: nobody may count on the input's place.
        const std::size_t n = plan_->values.size();
        return plan_->values[(static_cast<std::size_t>(index) + 1) % n].name.c_str();
    }
    Dims getTensorShape(const char* name) const noexcept override { return dims_of(-1, value(name).row); }
    DataType getTensorDataType(const char* name) const noexcept override {
        return value(name).dtype == "uint8"     ? DataType::kUINT8
               : value(name).dtype == "float32" ? DataType::kFLOAT
                                                : DataType::kINT64;
    }
    TensorIOMode getTensorIOMode(const char* name) const noexcept override {
        return value(name).input ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
    }
    std::int32_t getNbOptimizationProfiles() const noexcept override {
        return static_cast<std::int32_t>(plan_->sizes.size());
    }
    Dims getProfileShape(const char* name, std::int32_t profile, OptProfileSelector) const noexcept override {
        return dims_of(plan_->sizes[static_cast<std::size_t>(profile)], value(name).row);
    }
    std::int64_t getDeviceMemorySizeForProfileV2(std::int32_t profile) const noexcept override {
        return 1024 * plan_->sizes[static_cast<std::size_t>(profile)];
    }
    IExecutionContext* createExecutionContext(ExecutionContextAllocationStrategy how) noexcept override {
        if (fake::fails("context") || how != ExecutionContextAllocationStrategy::kUSER_MANAGED) {
            logger_.log(ILogger::Severity::kERROR, "a context could not be made");
            return nullptr;
        }
        return new Context(plan_, logger_);
    }
    IEngineInspector* createEngineInspector() const noexcept override { return new Inspector(plan_->layers); }

  private:
    const fake::Value& value(const std::string& name) const {
        for (const fake::Value& found : plan_->values) {
            if (found.name == name) return found;
        }
        return plan_->values.front();
    }
    std::shared_ptr<const Plan> plan_;
    ILogger& logger_;
};

class Runtime final : public IRuntime {
  public:
    explicit Runtime(ILogger& logger) : logger_(logger) { fake::made("runtime"); }
    ~Runtime() noexcept override {
        logger_.log(ILogger::Severity::kVERBOSE, "runtime destroyed");  // a logger that is gone would show here
        fake::destroyed("runtime");
    }
    ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept override {
        std::istringstream lines(std::string(static_cast<const char*>(blob), size));
        std::string line, word;
        if (fake::fails("deserialize") || !std::getline(lines, line) || line != "fake-engine") {
            logger_.log(ILogger::Severity::kERROR, "the plan file is no engine of this version");
            return nullptr;
        }
        auto plan = std::make_shared<Plan>();
        while (std::getline(lines, line)) {
            std::istringstream words(line);
            words >> word;
            std::int64_t number = 0;
            if (word == "size") {
                words >> number;
                plan->sizes.push_back(number);
            } else if (word == "layers") {
                plan->layers = line.substr(7);
            } else if (word == "input" || word == "output") {
                fake::Value value;
                value.input = word == "input";
                words >> value.name >> value.dtype;
                while (words >> number) value.row.push_back(number);
                plan->values.push_back(value);
            }
        }
        return new Engine(plan, logger_);
    }

  private:
    ILogger& logger_;
};

struct Profile final : IOptimizationProfile {
    bool setDimensions(const char*, OptProfileSelector, const Dims& dims) noexcept override {
        size = dims.d[0];
        return size > 0 && !fake::fails("dimensions");
    }
    std::int64_t size = 0;
};

struct Timing final : ITimingCache {
    explicit Timing(std::string text) : text_(std::move(text)) {}
    IHostMemory* serialize() const noexcept override { return new Host(text_ + "T"); }
    std::string text_;
};

struct Config final : IBuilderConfig {
    void setProgressMonitor(IProgressMonitor* given) noexcept override { monitor = given; }
    void setProfilingVerbosity(ProfilingVerbosity given) noexcept override {
        detailed = given == ProfilingVerbosity::kDETAILED;
    }
    ITimingCache* createTimingCache(const void* blob, std::size_t size) const noexcept override {
        return new Timing(std::string(static_cast<const char*>(blob), size));
    }
    bool setTimingCache(const ITimingCache&, bool) noexcept override { return !fake::fails("timing"); }
    std::int32_t addOptimizationProfile(const IOptimizationProfile* profile) noexcept override {
        sizes.push_back(static_cast<const Profile*>(profile)->size);
        return static_cast<std::int32_t>(sizes.size()) - 1;
    }
    IProgressMonitor* monitor = nullptr;
    std::vector<std::int64_t> sizes;
    bool detailed = false;
};

class Builder final : public IBuilder {
  public:
    explicit Builder(ILogger& logger) : logger_(logger) { fake::made("builder"); }
    ~Builder() noexcept override { fake::destroyed("builder"); }
    INetworkDefinition* createNetworkV2(NetworkDefinitionCreationFlags flags) noexcept override {
#if NV_TENSORRT_MAJOR < 11
        const bool typed = flags == 1U << static_cast<std::uint32_t>(NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
        const bool typed = flags == 0;
#endif
        return typed ? new fake::Network : nullptr;
    }
    IBuilderConfig* createBuilderConfig() noexcept override { return new Config; }
    IOptimizationProfile* createOptimizationProfile() noexcept override {
        profiles_.push_back(std::make_unique<Profile>());
        return profiles_.back().get();
    }
    IHostMemory* buildSerializedNetwork(INetworkDefinition& network, IBuilderConfig& given) noexcept override {
        auto& config = static_cast<Config&>(given);
        logger_.log(ILogger::Severity::kINFO, "building");
        if (config.monitor != nullptr) {
            // From a thread of its own, as TensorRT may.
            bool stopped = false;
            std::thread([&] { stopped = !steps(*config.monitor); }).join();
            if (stopped) return nullptr;
        }
        if (fake::fails("build")) {
            logger_.log(ILogger::Severity::kERROR, "no implementation for a layer");
            return nullptr;
        }
        const auto& read = static_cast<fake::Network&>(network);
        std::string text = "fake-engine\n";
        for (const std::int64_t size : config.sizes) text += "size " + std::to_string(size) + "\n";
        for (const fake::Value& value : read.values) {
            text += (value.input ? "input " : "output ") + value.name + " " + value.dtype;
            for (const std::int64_t size : value.row) text += " " + std::to_string(size);
            text += "\n";
        }
        if (config.detailed) text += "layers " + read.layers + "\n";
        return new Host(text);
    }

  private:
    static bool steps(IProgressMonitor& monitor) {
        monitor.phaseStart("Building", nullptr, 3);
        for (std::int32_t step = 0; step < 3; ++step) {
            if (!monitor.stepComplete("Building", step)) return false;
        }
        monitor.phaseFinish("Building");
        return true;
    }

    ILogger& logger_;
    std::vector<std::unique_ptr<Profile>> profiles_;
};

}  // namespace

extern "C" {

std::int32_t getInferLibMajorVersion() { return NV_TENSORRT_MAJOR; }
std::int32_t getInferLibMinorVersion() { return NV_TENSORRT_MINOR; }
std::int32_t getInferLibPatchVersion() { return NV_TENSORRT_PATCH; }

void* createInferRuntime_INTERNAL(void* logger, std::int32_t version) {
    if (fake::fails("runtime") || version != NV_TENSORRT_VERSION) return nullptr;
    return static_cast<IRuntime*>(new Runtime(*static_cast<ILogger*>(logger)));
}

void* createInferBuilder_INTERNAL(void* logger, std::int32_t version) {
    if (fake::fails("builder") || version != NV_TENSORRT_VERSION) return nullptr;
    return static_cast<IBuilder*>(new Builder(*static_cast<ILogger*>(logger)));
}

}  // extern "C"

// Reads of an ONNX file what the fake needs: the graph's inputs and outputs, and one layer for each MatMul.
//
// The layers' precisions are told as TensorRT's inspector does: FP8 where an input comes from DequantizeLinear.
#include "NvOnnxParser.h"

#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "control.h"
#include "network.h"

namespace {

// A walk over protobuf's wire format: fields of (number, content).
struct Reader {
    const char* at;
    const char* end;

    std::uint64_t varint() {
        std::uint64_t value = 0;
        for (int shift = 0; at < end; shift += 7) {
            const auto byte = static_cast<unsigned char>(*at++);
            value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
            if ((byte & 0x80) == 0) break;
        }
        return value;
    }
    // false at the end; content: of a length-delimited field; number: of a varint field
    bool next(int& field, Reader& content, std::uint64_t& number) {
        if (at >= end) return false;
        const std::uint64_t tag = varint();
        field = static_cast<int>(tag >> 3);
        content = {at, at};
        if ((tag & 7) == 2) {
            const std::uint64_t size = varint();
            if (size > static_cast<std::uint64_t>(end - at)) return false;
            content = {at, at + size};
            at += size;
        } else if ((tag & 7) == 0) {
            number = varint();
        } else {
            at += (tag & 7) == 1 ? 8 : 4;
        }
        return true;
    }
    std::string text() const { return {at, end}; }
};

fake::Value read_value(Reader reader, bool input) {
    fake::Value value;
    value.input = input;
    int field = 0;
    std::uint64_t number = 0;
    Reader info{}, type{}, tensor{}, shape{}, dim{};
    bool batch = true;
    while (reader.next(field, info, number)) {
        if (field == 1) value.name = info.text();
        if (field != 2) continue;
        while (info.next(field, type, number)) {
            while (type.next(field, tensor, number)) {
                if (field == 1) value.dtype = number == 1 ? "float32" : number == 2 ? "uint8" : "other";
                while (field == 2 && tensor.next(field, shape, number)) {
                    number = 0;
                    while (shape.next(field, dim, number)) {
                    }
                    if (!batch) value.row.push_back(static_cast<std::int64_t>(number));
                    batch = false;
                    field = 2;
                }
            }
        }
    }
    return value;
}

struct Node {
    std::string op, name, output;
    std::vector<std::string> inputs;
};

Node read_node(Reader reader) {
    Node node;
    int field = 0;
    std::uint64_t number = 0;
    Reader content{};
    while (reader.next(field, content, number)) {
        if (field == 1) node.inputs.push_back(content.text());
        if (field == 2) node.output = content.text();
        if (field == 3) node.name = content.text();
        if (field == 4) node.op = content.text();
    }
    return node;
}

void read_graph(Reader graph, fake::Network& network) {
    int field = 0;
    std::uint64_t number = 0;
    Reader content{};
    std::set<std::string> dequantised;
    std::string layers;
    std::vector<fake::Value> outputs;
    while (graph.next(field, content, number)) {
        if (field == 11) network.values.insert(network.values.begin(), read_value(content, true));
        if (field == 12) network.values.push_back(read_value(content, false));
        if (field != 1) continue;
        const Node node = read_node(content);
        if (node.op == "DequantizeLinear") dequantised.insert(node.output);
        if (node.op != "MatMul") continue;
        const bool fp8 = dequantised.count(node.inputs.at(0)) + dequantised.count(node.inputs.at(1)) == 2;
        const std::string type = fp8 ? "FP8" : "BFloat16";
        layers += (layers.empty() ? "" : ", ") + std::string(R"({"Name": ")") + node.name +
                  R"(", "LayerType": "gemm", "Inputs": [{"Name": "x", "Format/Datatype": ")" + type + R"("}], )" +
                  R"("Outputs": [{"Name": "y", "Format/Datatype": "BFloat16"}]})";
    }
    network.layers = "{\"Layers\": [" + layers + "]}";
}

struct Error final : nvonnxparser::IParserError {
    const char* desc() const override { return "an operator is not supported"; }
};

class Parser final : public nvonnxparser::IParser {
  public:
    explicit Parser(fake::Network& network) : network_(network) {}
    bool parseFromFile(const char* path, int) noexcept override {
        std::ifstream file(path, std::ios::binary);
        text_.assign(std::istreambuf_iterator<char>(file), {});
        if (fake::fails("parse") || text_.empty()) return false;
        Reader model{text_.data(), text_.data() + text_.size()}, content{};
        int field = 0;
        std::uint64_t number = 0;
        while (model.next(field, content, number)) {
            if (field == 7) read_graph(content, network_);
        }
        return !network_.values.empty();
    }
    int getNbErrors() const noexcept override { return 1; }
    const nvonnxparser::IParserError* getError(int) const noexcept override { return &error_; }

  private:
    fake::Network& network_;
    std::string text_;
    Error error_;
};

}  // namespace

extern "C" void* createNvOnnxParser_INTERNAL(void* network, void*, int) {
    auto* given = static_cast<nvinfer1::INetworkDefinition*>(network);
    return static_cast<nvonnxparser::IParser*>(new Parser(static_cast<fake::Network&>(*given)));
}

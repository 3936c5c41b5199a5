// Scores of a picture by ONNX Runtime's C++ API, from a model of `emonet-fast export --outputs scores`.
//
// onnx_scores emonet.onnx face.ppm
//
// face.ppm is a binary PPM (P6) of the model's size, resized outside: by Pillow, Image.resize((384, 384), BILINEAR).
// Build: c++ -std=c++17 examples/onnx_scores.cpp -I/usr/include/onnxruntime -lonnxruntime -o onnx_scores
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> rgb;
};

Picture read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  Picture picture;
  int largest = 0;
  file >> magic >> picture.width >> picture.height >> largest;
  if (!file || magic != "P6" || largest != 255 || picture.width < 1 || picture.width > 4096 || picture.height < 1 ||
      picture.height > 4096)
    throw std::runtime_error(std::string(path) + " is no binary PPM of 8 bits");
  file.get();  // one white space ends the head
  picture.rgb.resize(picture.width * picture.height * 3);
  if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
    throw std::runtime_error(std::string(path) + " is cut short");
  return picture;
}

int main(int count, char** arguments) try {
  if (count != 3) throw std::runtime_error("expected: onnx_scores MODEL.onnx PICTURE.ppm");
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING);
  Ort::Session session(env, arguments[1], Ort::SessionOptions());
  Ort::AllocatorWithDefaultOptions allocator;
  auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated("model_info labels", allocator);
  if (!text) throw std::runtime_error("the model has no labels; expected one of emonet-fast export");
  std::istringstream labels(text.get());  // of the first output, with spaces between

  Picture picture = read_ppm(arguments[2]);
  std::vector<int64_t> shape{1, picture.height, picture.width, 3};
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto pixels = Ort::Value::CreateTensor<uint8_t>(memory, picture.rgb.data(), picture.rgb.size(), shape.data(), 4);
  const char *input = "pixels", *output = "scores";
  auto scores = session.Run(Ort::RunOptions(), &input, &pixels, 1, &output, 1);
  const float* values = scores[0].GetTensorData<float>();
  std::string label;
  for (int64_t i = 0; labels >> label; i++) std::printf("%s\t%.6f\n", label.c_str(), values[i]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}

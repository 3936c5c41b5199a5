// A stand-in for the part of CUDA's header that TensorRT's interface mentions; see NvInfer.h beside it.
#pragma once

struct CUstream_st;
using cudaStream_t = CUstream_st*;

// How tests steer the fakes, and the seam between them. All of it lives in the fake driver's library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct CUstream_st;

extern "C" {
// The next `times` calls of what `what` names fail: "deserialize", "context", "enqueue", "shape", "address",
// "profile", "runtime", "builder", "build", "parse", "timing", "capture", "allocate", "allocate_host"; "kernel of 8"
// gives NaN for a batch of 8.
void fake_fail(const char* what, int times);
// How often something happened, by the same names and "launch", "copy", "overlap" (two threads in one graph's launch),
// ...
std::int64_t fake_count(const char* what);
// The order of "make X" and "destroy X", one a line. Valid until the next call.
const char* fake_story();
// The address of so many bytes on GPU 0 that this driver's own context ("mine"), another one ("theirs") or a pool of
// the driver ("pool") has; freed as any other.
unsigned long long fake_memory(const char* owner, std::size_t bytes);
// Everything above forgotten, but for memory.
void fake_reset();
// The outputs of a row of pixels, in place of the fake's own arithmetic: `count` arrays of `sizes` floats each.
void fake_answer(const void* pixels, std::size_t bytes, const float* const* values, const std::size_t* sizes,
                 std::size_t count);
// Whether other streams make steps while one is waited for (1, as it begins) or none but what events ask for (0).
void fake_mix(int on);
// Kernels block from now on, until fake_unblock (or for 20 s, which counts as "timed out").
void fake_block();
void fake_unblock();
// Returns once a kernel is blocked, or after 20 s.
void fake_wait_blocked();
}

namespace fake {

bool fails(const char* what);
void tell(const char* what);
void made(const char* what);
void destroyed(const char* what);
// Queues work on a stream, or records it where the stream is capturing.
void launch(CUstream_st* stream, std::function<void()> work);
// What every kernel does first: waits where fake_block has asked for it.
void begin_kernel();
// The answer for a row's output, or nullptr.
const float* answer(const void* pixels, std::size_t bytes, std::size_t output);

}  // namespace fake

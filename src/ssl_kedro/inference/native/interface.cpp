// What Python calls: plain pointers and numbers. No exception leaves a function.
#include <new>

#include "network.h"

namespace {

// 0 = portable, 1 = AVX2, 2 = AVX-512.
bool available(int set) {
  if (set == 0) return true;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (set == 1) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (set == 2)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
#endif
  return false;
}

const Tiles *tiles(int set) {
#if defined(__x86_64__)
  if (set == 1) return tiles_avx2();
  if (set == 2) return tiles_avx512();
#endif
  return set == 0 ? tiles_portable() : nullptr;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int gated_available(int set) { return available(set); }

// Null where the shape contradicts itself or the weights, the set is not there, or memory ends.
void *gated_create(const int64_t *shape, int64_t shape_count, const float *weights,
                   int64_t weight_count, int threads, int set) {
  if (!available(set) || threads < 1 || !Network::readable(shape, shape_count, weight_count))
    return nullptr;
  try {
    return new Network(shape, weights, threads, tiles(set));
  } catch (...) {
    return nullptr;
  }
}

// images (count, 3, side, side), bytes or floats in [0, 1]; forced and masks (count, dependent
// channels) or null; features (count, out). Returns 0, or 1 on an error.
int gated_run(void *network, const void *images, int bytes, int64_t count, const uint8_t *forced,
              float *features, uint8_t *masks) {
  try {
    static_cast<Network *>(network)->run(images, bytes != 0, count, forced, features, masks);
    return 0;
  } catch (...) {
    return 1;
  }
}

void gated_destroy(void *network) { delete static_cast<Network *>(network); }
}
#pragma GCC visibility pop

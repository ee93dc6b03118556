// What Python calls: plain pointers and numbers. No exception leaves a function.
#include <new>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "bottleneck.h"
#include "int8.h"
#include "network.h"
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

// A process has to ask for the tile registers before it uses them.
bool tile_registers() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long ASK = 0x1023, TILE_DATA = 18;
  static const bool granted = syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
  return granted;
#else
  return false;
#endif
}

#if defined(__x86_64__)
// AMX tiles are bit 24, their products of bytes bit 25, which older compilers have no name for.
bool leaf_7(int bit) {
  unsigned a, b, c, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> bit & 1);
}
#endif

// 0 = AVX-512 VNNI, 1 = AMX.
bool int8_available(int set) {
#if defined(__x86_64__)
  if (!available(2) || !__builtin_cpu_supports("avx512vnni")) return false;
  if (set == 0) return true;
  return set == 1 && leaf_7(24) && leaf_7(25) && tile_registers();
#else
  return false;
#endif
}

const Int8Tiles *int8_tiles(int set) {
#if defined(__x86_64__)
  return set == 1 ? int8_amx() : int8_avx512vnni();
#else
  return nullptr;
#endif
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

int gated_available(int set) { return available(set); }

int gated_int8_available(int set) { return int8_available(set); }

// Null where the shape contradicts itself or the weights, the set is not there, or memory ends.
void *gated_create(const int64_t *shape, int64_t shape_count, const float *weights,
                   int64_t weight_count, int threads, int set) {
  const Shape found{shape};
  if (!available(set) || threads < 1 || !found.readable(shape_count) ||
      Network::floats(found) != weight_count)
    return nullptr;
  try {
    if (found.bottlenecks())
      return static_cast<Executor *>(new BottleneckNetwork(found, weights, threads, tiles(set)));
    return static_cast<Executor *>(new Network(found, weights, threads, tiles(set)));
  } catch (...) {
    return nullptr;
  }
}

// The same in int8: weights, and floats that scale them.
void *gated_create_int8(const int64_t *shape, int64_t shape_count, const int8_t *weights,
                        int64_t weight_count, const float *floats, int64_t float_count,
                        int threads, int set) {
  const Shape found{shape};
  if (!int8_available(set) || threads < 1 || !found.readable(shape_count) ||
      Int8Arrays::weight_count(found) != weight_count ||
      Int8Arrays::float_count(found) != float_count)
    return nullptr;
  try {
    return static_cast<Executor *>(
        new Int8Network(found, {{weights}, {floats}}, threads, int8_tiles(set)));
  } catch (...) {
    return nullptr;
  }
}

// images (count, 3, side, side), bytes or floats in [0, 1]; forced and masks (count, dependent
// channels) or null; features (count, out). Returns 0, or 1 on an error.
int gated_run(void *network, const void *images, int bytes, int64_t count, const uint8_t *forced,
              float *features, uint8_t *masks) {
  try {
    static_cast<Executor *>(network)->run({images, bytes != 0, count, forced, features, masks});
    return 0;
  } catch (...) {
    return 1;
  }
}

void gated_destroy(void *network) { delete static_cast<Executor *>(network); }
}
#pragma GCC visibility pop

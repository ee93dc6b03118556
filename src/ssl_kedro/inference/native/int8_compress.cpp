// Which weights are left of rows whose input channels are chosen.
#include <string.h>

#include "int8_tiles.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

// Bytes of whole chunks whose bits are set, one after the other; zeros behind them. What lies so
// far ahead is needed next: chosen rows are too short for the processor to foresee them.
using Put = void (*)(const int8_t *chunks, const uint64_t *bits, int64_t count, int64_t ahead,
                     int8_t *out);

void put_open(const int8_t *chunks, const uint64_t *bits, int64_t count, int64_t, int8_t *out) {
  for (int64_t c = 0; c < count; ++c, chunks += LINE)
    for (uint64_t left = bits[c]; left; left &= left - 1) *out++ = chunks[__builtin_ctzll(left)];
  memset(out, 0, 3);
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bw,avx512vbmi2,popcnt"))) void put_open_vbmi2(
    const int8_t *chunks, const uint64_t *bits, int64_t count, int64_t ahead, int8_t *out) {
  for (int64_t c = 0; c < count; ++c, chunks += LINE) {
    __builtin_prefetch(chunks + ahead);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi8(bits[c], _mm512_loadu_si512(chunks)));
    out += __builtin_popcountll(bits[c]);
  }
}
#endif

Put fastest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vbmi2")) return put_open_vbmi2;
#endif
  return put_open;
}

}  // namespace

// What is written beyond a tap, the next one writes over.
void compress(const Compression &t) {
  static const Put put = fastest();
  const int64_t taps = t.gathered ? 9 : 3, segment = lines(taps * t.channels) * LINE;
  int8_t *out = t.out;
  for (int64_t i = 0; i < t.count && segment; ++i) {
    const int64_t row = 9 * t.chunks * LINE;
    const int64_t ahead = i + 1 < t.count ? (t.list[i + 1] - t.list[i]) * row : 0;
    const int8_t *weights = t.weights + t.list[i] * row;
    for (int64_t tap = 0; tap < 9; tap += taps, out += segment) {
      memset(out + segment - LINE, 0, LINE);
      for (int64_t k = 0; k < taps; ++k, weights += t.chunks * LINE)
        put(weights, t.bits, t.chunks, ahead, out + k * t.channels);
    }
  }
}

// Compiled once for each instruction set, with TILES_NAME given, INT8_AMX for the one with tile
// registers, and the compiler told of the set. Includes no header with code that is not inlined
// for sure: the linker keeps one copy, which could be one that a lesser machine cannot run.
#include "int8_tiles.h"

#include <immintrin.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define UNROLL _Pragma("GCC unroll 32")

namespace {

alignas(64) const int8_t NOTHING[LINE] = {};
constexpr int64_t CACHED_BYTES = 32 << 10;  // of weights, that should stay in the L1 cache

inline __m512i line(const void *p) { return _mm512_loadu_si512(p); }
inline void put(void *p, __m512i v) { _mm512_storeu_si512(p, v); }

// Sums of a tile, [pixel][channel].
struct alignas(64) Sums {
  int32_t at[16][16];
};

inline __m512i rounded(const int32_t *sums, __m512 scale, __m512 bias) {
  return _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums)), scale, bias));
}

// Two pixels and 32 channels at a time, whose 64 bytes are packed together.
template <Finish FINISH>
void finish_as(const ProductTask &t, const Sums *sums, const PixelTile &tile, int64_t channel) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i factor = _mm512_set1_epi16(t.factor), none = _mm512_setzero_si512();
  const float *scale = t.scale + channel, *bias = t.bias + channel;
  const __m512 scale_0 = _mm512_loadu_ps(scale), scale_1 = _mm512_loadu_ps(scale + 16);
  const __m512 bias_0 = _mm512_loadu_ps(bias), bias_1 = _mm512_loadu_ps(bias + 16);
  const int64_t left = t.channels - channel, pitch = t.narrow_channels, wide_pitch = t.wide_channels;
  const __mmask32 written = left >= 32 ? ~__mmask32(0) : (__mmask32(1) << left) - 1;
  const int32_t *places = t.out_pixels + tile.first;
  uint8_t *narrow = t.narrow ? t.narrow + channel : nullptr;
  int16_t *wide = t.wide + channel;
  const int32_t count = tile.count;
  for (int32_t p = 0; p < count; p += 2) {
    const int pixels = p + 1 < count ? 2 : 1;
    __m512i words[2] = {none, none};
    for (int i = 0; i < pixels; ++i) {
      words[i] = _mm512_packs_epi32(rounded(sums[0].at[p + i], scale_0, bias_0),
                                    rounded(sums[1].at[p + i], scale_1, bias_1));
      if (FINISH == Finish::bytes) continue;
      int16_t *kept = wide + places[p + i] * wide_pitch;
      if (FINISH == Finish::block) words[i] = _mm512_adds_epi16(words[i], line(kept));
      if (FINISH != Finish::shortcut) words[i] = _mm512_max_epi16(words[i], none);
      put(kept, words[i]);
      words[i] = _mm512_mulhrs_epi16(words[i], factor);
    }
    if (FINISH == Finish::shortcut || !narrow) continue;
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(words[0], words[1]));
    _mm256_mask_storeu_epi8(narrow + places[p] * pitch, written, _mm512_castsi512_si256(bytes));
    if (pixels == 2)
      _mm256_mask_storeu_epi8(narrow + places[p + 1] * pitch, written,
                              _mm512_extracti64x4_epi64(bytes, 1));
  }
}

void finish(const ProductTask &t, const Sums *sums, const PixelTile &tile, int64_t channel) {
  switch (t.finish) {
    case Finish::bytes: return finish_as<Finish::bytes>(t, sums, tile, channel);
    case Finish::shortcut: return finish_as<Finish::shortcut>(t, sums, tile, channel);
    case Finish::block: return finish_as<Finish::block>(t, sums, tile, channel);
    case Finish::stem: return finish_as<Finish::stem>(t, sums, tile, channel);
  }
}

inline const uint8_t *input(const ProductTask &t, int64_t tile) {
  return t.x + t.x_pixels[t.tiles[tile].first] * t.x_step;
}

#if defined(INT8_AMX)

struct TileShapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void begin() {
  static const TileShapes shapes;
  _tile_loadconfig(&shapes);
}

void end() { _tile_release(); }

constexpr int64_t PIXELS_OF_PRODUCT = 16, BYTES_OF_PRODUCT = LINE, CYCLES_OF_PRODUCT = 22;

// Two by two tiles at most: sums in registers 0 to 3, pixels in 4 and 5, weights in 6 and 7.
template <int PIXELS, int CHANNELS>
void product_tiles(const ProductTask &t, int64_t tile, int64_t pair) {
  const int64_t count = (t.quads + 15) / 16;
  const uint8_t *x[2] = {input(t, tile), input(t, tile + PIXELS - 1)};
  const int8_t *w = t.weights + pair * t.segments * count * PAIR;
  _tile_zero(0);
  if (CHANNELS > 1) _tile_zero(1);
  if (PIXELS > 1) _tile_zero(2);
  if (PIXELS > 1 && CHANNELS > 1) _tile_zero(3);
  for (int64_t s = 0; s < t.segments; ++s)
    for (int64_t i = 0; i < count; ++i, w += PAIR) {
      const int64_t at = s * t.segment_bytes + i * LINE;
      _tile_loadd(4, x[0] + at, t.x_row);
      _tile_loadd(6, w, 2 * LINE);
      _tile_dpbusd(0, 4, 6);
      if (CHANNELS > 1) {
        _tile_loadd(7, w + LINE, 2 * LINE);
        _tile_dpbusd(1, 4, 7);
      }
      if (PIXELS > 1) {
        _tile_loadd(5, x[1] + at, t.x_row);
        _tile_dpbusd(2, 5, 6);
        if (CHANNELS > 1) _tile_dpbusd(3, 5, 7);
      }
    }
  Sums sums[2][2];
  _tile_stored(0, sums[0][0].at, LINE);
  if (CHANNELS > 1) _tile_stored(1, sums[0][1].at, LINE);
  if (PIXELS > 1) _tile_stored(2, sums[1][0].at, LINE);
  if (PIXELS > 1 && CHANNELS > 1) _tile_stored(3, sums[1][1].at, LINE);
  for (int p = 0; p < PIXELS; ++p) finish(t, sums[p], t.tiles[tile + p], pair * PAIR_CHANNELS);
}

#else

void begin() {}
void end() {}

constexpr int64_t PIXELS_OF_PRODUCT = 4, BYTES_OF_PRODUCT = 4, CYCLES_OF_PRODUCT = 4;

// Pixels and channel tiles whose sums fit into the registers beside the operands: 8 and 2 at most.
template <int PIXELS, int CHANNELS>
void product_part(const ProductTask &t, const uint8_t *x, const int8_t *w, Sums *sums, int first) {
  const int64_t count = (t.quads + 15) / 16;
  __m512i total[PIXELS][CHANNELS];
  UNROLL for (int p = 0; p < PIXELS; ++p)
    UNROLL for (int c = 0; c < CHANNELS; ++c) total[p][c] = _mm512_setzero_si512();
  x += first * t.x_row;
  for (int64_t s = 0; s < t.segments; ++s, x += t.segment_bytes, w += count * PAIR)
    for (int64_t q = 0; q < t.quads; ++q) {
      __m512i weights[CHANNELS];
      UNROLL for (int c = 0; c < CHANNELS; ++c) weights[c] = line(w + (2 * q + c) * LINE);
      UNROLL for (int p = 0; p < PIXELS; ++p) {
        const __m512i value = _mm512_set1_epi32(*(const int32_t *)(x + p * t.x_row + 4 * q));
        UNROLL for (int c = 0; c < CHANNELS; ++c)
          total[p][c] = _mm512_dpbusd_epi32(total[p][c], value, weights[c]);
      }
    }
  UNROLL for (int p = 0; p < PIXELS; ++p)
    UNROLL for (int c = 0; c < CHANNELS; ++c) _mm512_store_si512(sums[c].at[first + p], total[p][c]);
}

template <int PIXELS, int CHANNELS>
void product_tiles(const ProductTask &t, int64_t tile, int64_t pair) {
  const int8_t *w = t.weights + pair * t.segments * ((t.quads + 15) / 16) * PAIR;
  for (int p = 0; p < PIXELS; ++p) {
    const PixelTile &pixels = t.tiles[tile + p];
    Sums sums[2];
    int first = 0;
    for (; first + 4 < pixels.count; first += 8)
      product_part<8, CHANNELS>(t, input(t, tile + p), w, sums, first);
    if (first < pixels.count) product_part<4, CHANNELS>(t, input(t, tile + p), w, sums, first);
    finish(t, sums, pixels, pair * PAIR_CHANNELS);
  }
}

#endif

template <int PIXELS>
void product_row(const ProductTask &t, int64_t tile, int64_t first, int64_t last) {
  for (int64_t pair = first; pair < last; ++pair) {
    if (t.channels - pair * PAIR_CHANNELS > 16) product_tiles<PIXELS, 2>(t, tile, pair);
    else product_tiles<PIXELS, 1>(t, tile, pair);
  }
}

// As many pairs at a time as stay in the L1 cache with their weights.
void product(const ProductTask *task) {
  const ProductTask &t = *task;
  const int64_t bytes = t.segments * ((t.quads + 15) / 16) * PAIR;
  const int64_t pairs = (t.channels + PAIR_CHANNELS - 1) / PAIR_CHANNELS;
  const int64_t step = bytes < CACHED_BYTES / 2 ? CACHED_BYTES / (bytes + 1) : 1;
  for (int64_t first = 0; first < pairs; first += step) {
    const int64_t last = first + step < pairs ? first + step : pairs;
    int64_t tile = t.first_tile;
    for (; tile + 2 <= t.last_tile; tile += 2) product_row<2>(t, tile, first, last);
    if (tile < t.last_tile) product_row<1>(t, tile, first, last);
  }
}

// The 16 rows of 16 quads are transposed: quarters of four rows are put into one register, the
// rest is done within quarters.
void pack_rows(const int8_t *weights, int64_t count, const int32_t *list, int64_t channels,
               int8_t *packed) {
  const int8_t *rows[16];
  int64_t step[16];
  for (int64_t i = 0; i < 16; ++i) {
    rows[i] = i < channels ? weights + list[i] * count * LINE : NOTHING;
    step[i] = i < channels ? LINE : 0;
  }
  for (int64_t l = 0; l < count; ++l, packed += PAIR) {
    UNROLL for (int quarter = 0; quarter < 4; ++quarter) {
      __m512i v[4];
      UNROLL for (int i = 0; i < 4; ++i) {
        const int at = 16 * quarter;
#define PART(row) _mm_loadu_si128((const __m128i *)(rows[row] + at))
        v[i] = _mm512_castsi128_si512(PART(i));
        v[i] = _mm512_inserti32x4(v[i], PART(4 + i), 1);
        v[i] = _mm512_inserti32x4(v[i], PART(8 + i), 2);
        v[i] = _mm512_inserti32x4(v[i], PART(12 + i), 3);
#undef PART
      }
      const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
      const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
      int8_t *out = packed + quarter * 8 * LINE;
      put(out, _mm512_unpacklo_epi64(a, c));
      put(out + 2 * LINE, _mm512_unpackhi_epi64(a, c));
      put(out + 4 * LINE, _mm512_unpacklo_epi64(b, d));
      put(out + 6 * LINE, _mm512_unpackhi_epi64(b, d));
    }
    for (int i = 0; i < 16; ++i) rows[i] += step[i];
  }
}

// Four rows are interleaved byte by byte; half of it by shifts, which another port does.
void pack_columns(const ColumnsPacking *packing) {
  const ColumnsPacking &t = *packing;
  const int64_t quads = (t.count + 3) / 4, taps = t.gathered ? t.taps : 3;
  const int64_t rows = lines(taps * quads * 4) * 16;  // a segment
  const __m512i low = _mm512_set1_epi32(0xffff);
  int8_t *out = t.packed;
  const int64_t pair = t.taps / taps * rows * 2 * LINE;
  for (int64_t tap = 0; tap < t.taps; ++tap) {
    const int8_t *weights = t.weights + tap * t.channels * LINE;
    for (int64_t q = 0; q < quads; ++q, out += 2 * LINE) {
      const int8_t *w[4];
      UNROLL for (int64_t i = 0; i < 4; ++i)
        w[i] = 4 * q + i < t.count ? weights + t.list[4 * q + i] * LINE : NOTHING;
      const __m512i a = line(w[0]), b = line(w[1]), c = line(w[2]), d = line(w[3]);
      const __m512i e = _mm512_unpacklo_epi8(a, b), f = _mm512_unpackhi_epi8(a, b);
      const __m512i g = _mm512_unpacklo_epi8(c, d), h = _mm512_unpackhi_epi8(c, d);
      constexpr int CHOICE = 0xd8;  // the second where the third is set, else the first
      put(out, _mm512_ternarylogic_epi32(_mm512_slli_epi32(g, 16), e, low, CHOICE));
      put(out + LINE, _mm512_ternarylogic_epi32(g, _mm512_srli_epi32(e, 16), low, CHOICE));
      put(out + pair, _mm512_ternarylogic_epi32(_mm512_slli_epi32(h, 16), f, low, CHOICE));
      put(out + pair + LINE, _mm512_ternarylogic_epi32(h, _mm512_srli_epi32(f, 16), low, CHOICE));
    }
    if (tap % taps == taps - 1)
      for (int64_t r = 2 * taps * quads; r < 2 * rows; ++r, out += LINE) {
        put(out, _mm512_setzero_si512());
        put(out + pair, _mm512_setzero_si512());
      }
  }
}

void gather(const GatherTask *task) {
  const GatherTask &t = *task;
  for (int64_t p = t.first_pixel; p < t.last_pixel; ++p) {
    const uint8_t *in = t.x + t.x_pixels[p] * t.channels;
    uint8_t *out = t.out + p * t.out_row;
    // What is copied beyond a row is written again, or meets weights of 0.
    for (int64_t row = 0; row < t.rows; ++row, in += t.x_pitch, out += t.length)
      for (int64_t i = 0; i < t.length; i += LINE) put(out + i, line(in + i));
  }
}

// Even and odd bytes are summed in words, which hold 256 of them.
void sum_bytes(const uint8_t *map, const int32_t *pixels, int64_t count, int64_t channels,
               int32_t *sums) {
  const __m512i low = _mm512_set1_epi16(0xff);
  for (int64_t c = 0; c < channels; c += LINE) {
    const int64_t left = channels - c;
    const __mmask64 there = left >= LINE ? ~__mmask64(0) : (__mmask64(1) << left) - 1;
    for (int64_t first = 0; first < count; first += 256) {
      __m512i even = _mm512_setzero_si512(), odd = even;
      const int64_t last = first + 256 < count ? first + 256 : count;
      for (int64_t p = first; p < last; ++p) {
        const __m512i value = _mm512_maskz_loadu_epi8(there, map + pixels[p] * channels + c);
        even = _mm512_add_epi16(even, _mm512_and_si512(value, low));
        odd = _mm512_add_epi16(odd, _mm512_srli_epi16(value, 8));
      }
      alignas(64) uint16_t words[2][32];
      _mm512_store_si512(words[0], even);
      _mm512_store_si512(words[1], odd);
      for (int64_t i = 0; i < LINE && i < left; ++i) sums[c + i] += words[i % 2][i / 2];
    }
  }
}

void sum_words(const int16_t *map, const int32_t *pixels, int64_t count, int64_t channels,
               int32_t *sums) {
  for (int64_t c = 0; c < channels; c += 16) {
    __m512i sum = _mm512_loadu_si512(sums + c);
    for (int64_t p = 0; p < count; ++p) {
      const __m256i words = _mm256_loadu_si256((const __m256i *)(map + pixels[p] * channels + c));
      sum = _mm512_add_epi32(sum, _mm512_cvtepi16_epi32(words));
    }
    put(sums + c, sum);
  }
}

void halve(const float *x, int64_t count, uint16_t *out) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 there = count - i >= 16 ? 0xffff : __mmask16((1 << (count - i)) - 1);
    const __m512 value = _mm512_maskz_loadu_ps(there, x + i);
    _mm256_mask_storeu_epi16(out + i, there, _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
}

// Four rows at a time; they are read once, and later ones asked for meanwhile.
void products(const float *x, const uint16_t *weights, const float *bias, int64_t rows,
              int64_t length, float *out) {
  for (int64_t r = 0; r < rows; r += 4) {
    const int64_t count = rows - r < 4 ? rows - r : 4;
    const uint16_t *w[4];
    UNROLL for (int64_t i = 0; i < 4; ++i) w[i] = weights + (r + (i < count ? i : 0)) * length;
    __m512 sums[4] = {};
    for (int64_t k = 0; k < length; k += 16) {
      const __m512 value = _mm512_loadu_ps(x + k);
      UNROLL for (int i = 0; i < 4; ++i) {
        if (k % 32 == 0) __builtin_prefetch(w[i] + 8 * length + k);
        const __m512 row = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(w[i] + k)));
        sums[i] = _mm512_fmadd_ps(row, value, sums[i]);
      }
    }
    for (int64_t i = 0; i < count; ++i)
      out[r + i] = _mm512_reduce_add_ps(sums[i]) + (bias ? bias[r + i] : 0);
  }
}

void stack(const uint8_t *const *planes, int64_t count, int64_t step, uint32_t *out) {
  const __m512i places = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
      _mm512_set1_epi32(int32_t(step)));
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 there = count - i >= 16 ? 0xffff : __mmask16((1 << (count - i)) - 1);
    __m512i colours[3];
    for (int c = 0; c < 3; ++c)
      colours[c] = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(there, planes[c] + i));
    const __m512i two = _mm512_or_si512(colours[0], _mm512_slli_epi32(colours[1], 8));
    _mm512_mask_i32scatter_epi32(out + i * step, there, places,
                                 _mm512_or_si512(two, _mm512_slli_epi32(colours[2], 16)), 4);
  }
}

void round(const float *x, int64_t count, uint8_t *out) {
  const __m512 most = _mm512_set1_ps(255), none = _mm512_setzero_ps();
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 there = count - i >= 16 ? 0xffff : __mmask16((1 << (count - i)) - 1);
    const __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(there, x + i), most);
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(value, none), most));
    _mm_mask_storeu_epi8(out + i, there, _mm512_cvtepi32_epi8(rounded));
  }
}

void pool_row(const uint8_t *map, int64_t pitch, int64_t channels, int64_t width, float ratio,
              uint8_t *narrow, int16_t *wide, int64_t wide_channels) {
  for (int64_t x = 0; x < width; ++x)
    for (int64_t c = 0; c < channels; c += PAIR_CHANNELS) {
      const __mmask32 there = channels - c >= PAIR_CHANNELS ? ~__mmask32(0) : __mmask32(0xffff);
      const uint8_t *in = map + 2 * x * channels + c;
      __m256i most = _mm256_setzero_si256();
      for (int tap = 0; tap < 9; ++tap)
        most = _mm256_max_epu8(most, _mm256_maskz_loadu_epi8(there, in + tap / 3 * pitch + tap % 3 * channels));
      _mm256_mask_storeu_epi8(narrow + x * channels + c, there, most);
      __m512i half[2];
      for (int i = 0; i < 2; ++i) {
        const __m128i bytes = i ? _mm256_extracti128_si256(most, 1) : _mm256_castsi256_si128(most);
        const __m512 value = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        half[i] = _mm512_cvtps_epi32(_mm512_mul_ps(value, _mm512_set1_ps(ratio)));
      }
      put(wide + x * wide_channels + c, _mm512_packs_epi32(half[0], half[1]));
    }
}

const Int8Tiles TABLE = {PIXELS_OF_PRODUCT, BYTES_OF_PRODUCT, CYCLES_OF_PRODUCT, begin, end, product, pack_rows, pack_columns,
                         gather, sum_bytes, sum_words, halve, products, stack, round, pool_row};

}  // namespace

extern "C" const Int8Tiles *JOIN(int8_, TILES_NAME)() { return &TABLE; }

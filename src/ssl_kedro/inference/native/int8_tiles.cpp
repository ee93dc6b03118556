// Compiled once for each instruction set, with TILES_NAME given, INT8_AMX for the one with tile
// registers, and the compiler told of the set. Includes no header with code that is not inlined
// for sure: the linker keeps one copy, which could be one that a lesser machine cannot run.
#include "int8_tiles.h"

#include <immintrin.h>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define UNROLL _Pragma("GCC unroll 32")

namespace {

alignas(64) const int8_t NOTHING[LINE * 9] = {};

inline __m512i line(const void *p) { return _mm512_loadu_si512(p); }
inline void put(void *p, __m512i v) { _mm512_storeu_si512(p, v); }

// Sums of a tile, [pixel][channel].
struct alignas(64) Sums {
  int32_t at[16][16];
};

template <Finish FINISH>
void finish_tile(const ProductTask &t, const Sums &sums, const PixelTile &tile, int64_t channel) {
  const __m512 scale = _mm512_loadu_ps(t.scale + channel), bias = _mm512_loadu_ps(t.bias + channel);
  const __m512 inverse = _mm512_set1_ps(t.inverse), none = _mm512_setzero_ps();
  const int64_t left = t.channels - channel;
  const __mmask16 written = left >= 16 ? 0xffff : __mmask16((1 << left) - 1);
  for (int32_t p = 0; p < tile.count; ++p) {
    const int64_t at = t.out_pixels[tile.first + p] * t.out_channels + channel;
    __m512 value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums.at[p])), scale, bias);
    if (FINISH == Finish::block)
      value = _mm512_add_ps(value, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(t.wide + at))));
    if (FINISH != Finish::shortcut) value = _mm512_max_ps(value, none);
    if (FINISH != Finish::inner && FINISH != Finish::pooled)
      _mm256_storeu_si256((__m256i *)(t.wide + at), _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    if (FINISH == Finish::shortcut || (FINISH == Finish::block && !t.narrow)) continue;
    if (FINISH != Finish::inner) value = _mm512_mul_ps(value, inverse);
    const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(value));
    _mm_mask_storeu_epi8(t.narrow + at, written, bytes);
  }
}

void finish(const ProductTask &t, const Sums &sums, const PixelTile &tile, int64_t channel) {
  switch (t.finish) {
    case Finish::inner: return finish_tile<Finish::inner>(t, sums, tile, channel);
    case Finish::shortcut: return finish_tile<Finish::shortcut>(t, sums, tile, channel);
    case Finish::block: return finish_tile<Finish::block>(t, sums, tile, channel);
    case Finish::stem: return finish_tile<Finish::stem>(t, sums, tile, channel);
    case Finish::pooled: return finish_tile<Finish::pooled>(t, sums, tile, channel);
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

// Two by two tiles at most: sums in registers 0 to 3, pixels in 4 and 5, weights in 6 and 7.
template <int PIXELS, int CHANNELS>
void product_tiles(const ProductTask &t, int64_t tile, int64_t channel_tile) {
  const int64_t count = (t.quads + 15) / 16, all = t.segments * count;
  const uint8_t *x[2] = {input(t, tile), input(t, tile + PIXELS - 1)};
  const int8_t *w = t.weights + channel_tile * all * TILE, *v = w + (CHANNELS - 1) * all * TILE;
  _tile_zero(0);
  if (CHANNELS > 1) _tile_zero(1);
  if (PIXELS > 1) _tile_zero(2);
  if (PIXELS > 1 && CHANNELS > 1) _tile_zero(3);
  for (int64_t s = 0; s < t.segments; ++s)
    for (int64_t i = 0; i < count; ++i, w += TILE, v += TILE) {
      const int64_t at = s * t.segment_bytes + i * LINE;
      _tile_loadd(4, x[0] + at, t.x_row);
      _tile_loadd(6, w, LINE);
      _tile_dpbusd(0, 4, 6);
      if (CHANNELS > 1) {
        _tile_loadd(7, v, LINE);
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
  for (int p = 0; p < PIXELS; ++p)
    for (int c = 0; c < CHANNELS; ++c)
      finish(t, sums[p][c], t.tiles[tile + p], (channel_tile + c) * 16);
}

#else

void begin() {}
void end() {}

// As many sums as fit into the registers beside the operands: 8 pixels and two channel tiles.
template <int CHANNELS>
void product_half(const ProductTask &t, const uint8_t *x, const int8_t *w, Sums *sums, int first) {
  const int64_t all = t.segments * ((t.quads + 15) / 16);
  __m512i total[8][CHANNELS];
  UNROLL for (int p = 0; p < 8; ++p)
    UNROLL for (int c = 0; c < CHANNELS; ++c) total[p][c] = _mm512_setzero_si512();
  x += first * t.x_row;
  for (int64_t s = 0; s < t.segments; ++s, x += t.segment_bytes) {
    const int8_t *v = w + s * (all / t.segments) * TILE;
    for (int64_t q = 0; q < t.quads; ++q, v += LINE) {
      __m512i weights[CHANNELS];
      UNROLL for (int c = 0; c < CHANNELS; ++c) weights[c] = line(v + c * all * TILE);
      UNROLL for (int p = 0; p < 8; ++p) {
        const __m512i value = _mm512_set1_epi32(*(const int32_t *)(x + p * t.x_row + 4 * q));
        UNROLL for (int c = 0; c < CHANNELS; ++c)
          total[p][c] = _mm512_dpbusd_epi32(total[p][c], value, weights[c]);
      }
    }
  }
  UNROLL for (int p = 0; p < 8; ++p)
    UNROLL for (int c = 0; c < CHANNELS; ++c) _mm512_store_si512(sums[c].at[first + p], total[p][c]);
}

template <int PIXELS, int CHANNELS>
void product_tiles(const ProductTask &t, int64_t tile, int64_t channel_tile) {
  const int64_t all = t.segments * ((t.quads + 15) / 16);
  const int8_t *w = t.weights + channel_tile * all * TILE;
  for (int p = 0; p < PIXELS; ++p) {
    const PixelTile &pixels = t.tiles[tile + p];
    Sums sums[CHANNELS];
    for (int first = 0; first < pixels.count; first += 8)
      product_half<CHANNELS>(t, input(t, tile + p), w, sums, first);
    for (int c = 0; c < CHANNELS; ++c) finish(t, sums[c], pixels, (channel_tile + c) * 16);
  }
}

#endif

template <int CHANNELS>
void product_strip(const ProductTask &t, int64_t channel_tile) {
  int64_t tile = t.first_tile;
  for (; tile + 2 <= t.last_tile; tile += 2) product_tiles<2, CHANNELS>(t, tile, channel_tile);
  if (tile < t.last_tile) product_tiles<1, CHANNELS>(t, tile, channel_tile);
}

void product(const ProductTask *task) {
  const ProductTask &t = *task;
  int64_t c = 0;
  for (; c + 2 <= t.channel_tiles; c += 2) product_strip<2>(t, c);
  if (c < t.channel_tiles) product_strip<1>(t, c);
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
  for (int64_t l = 0; l < count; ++l, packed += TILE) {
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
      int8_t *out = packed + quarter * 4 * LINE;
      put(out, _mm512_unpacklo_epi64(a, c));
      put(out + LINE, _mm512_unpackhi_epi64(a, c));
      put(out + 2 * LINE, _mm512_unpacklo_epi64(b, d));
      put(out + 3 * LINE, _mm512_unpackhi_epi64(b, d));
    }
    for (int i = 0; i < 16; ++i) rows[i] += step[i];
  }
}

void pack_columns(const ColumnsPacking *packing) {
  const ColumnsPacking &t = *packing;
  const int64_t quads = (t.count + 3) / 4, taps = t.gathered ? 9 : 3, segments = 9 / taps;
  const int64_t rows = lines(taps * quads * 4) * 16;   // of 64 bytes, a segment
  const int64_t tile = segments * rows * LINE;         // bytes of a channel tile
  for (int64_t q = 0; q < quads; ++q) {
    const int8_t *w[4];
    for (int64_t i = 0; i < 4; ++i)
      w[i] = 4 * q + i < t.count ? t.weights + t.list[4 * q + i] * 9 * LINE : NOTHING;
    for (int64_t tap = 0; tap < 9; ++tap) {
      const __m512i a = line(w[0] + tap * LINE), b = line(w[1] + tap * LINE);
      const __m512i c = line(w[2] + tap * LINE), d = line(w[3] + tap * LINE);
      const __m512i e = _mm512_unpacklo_epi8(a, b), f = _mm512_unpackhi_epi8(a, b);
      const __m512i g = _mm512_unpacklo_epi8(c, d), h = _mm512_unpackhi_epi8(c, d);
      int8_t *out = t.packed + (tap / taps * rows + tap % taps * quads + q) * LINE;
      put(out, _mm512_unpacklo_epi16(e, g));
      put(out + tile, _mm512_unpackhi_epi16(e, g));
      put(out + 2 * tile, _mm512_unpacklo_epi16(f, h));
      put(out + 3 * tile, _mm512_unpackhi_epi16(f, h));
    }
  }
  for (int64_t k = 0; k < 4; ++k)
    for (int64_t s = 0; s < segments; ++s)
      for (int64_t r = taps * quads; r < rows; ++r)
        put(t.packed + k * tile + (s * rows + r) * LINE, _mm512_setzero_si512());
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

void sum_bytes(const uint8_t *map, const int32_t *pixels, int64_t count, int64_t channels,
               int32_t *sums) {
  for (int64_t c = 0; c < channels; c += 16) {
    __m512i even = _mm512_loadu_si512(sums + c), odd = _mm512_setzero_si512();
    for (int64_t p = 0; p < count; ++p) {
      const __m512i value = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(map + pixels[p] * channels + c)));
      if (p % 2) odd = _mm512_add_epi32(odd, value);
      else even = _mm512_add_epi32(even, value);
    }
    _mm512_storeu_si512(sums + c, _mm512_add_epi32(even, odd));
  }
}

void sum_halves(const uint16_t *map, const int32_t *pixels, int64_t count, int64_t channels,
                float *sums) {
  for (int64_t c = 0; c < channels; c += 16) {
    __m512 sum = _mm512_loadu_ps(sums + c);
    for (int64_t p = 0; p < count; ++p)
      sum = _mm512_add_ps(sum, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(map + pixels[p] * channels + c))));
    _mm512_storeu_ps(sums + c, sum);
  }
}

void stack(const uint8_t *const *planes, int64_t count, int64_t step, uint32_t *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i * step] = uint32_t(planes[0][i] | planes[1][i] << 8 | planes[2][i] << 16);
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

void pool_row(const uint8_t *map, int64_t pitch, int64_t channels, int64_t width, float scale,
              uint8_t *narrow, uint16_t *wide) {
  for (int64_t x = 0; x < width; ++x)
    for (int64_t c = 0; c < channels; c += 16) {
      const uint8_t *in = map + 2 * x * channels + c;
      __m128i most = _mm_setzero_si128();
      for (int tap = 0; tap < 9; ++tap)
        most = _mm_max_epu8(most, _mm_loadu_si128((const __m128i *)(in + tap / 3 * pitch + tap % 3 * channels)));
      _mm_storeu_si128((__m128i *)(narrow + x * channels + c), most);
      const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(most)), _mm512_set1_ps(scale));
      _mm256_storeu_si256((__m256i *)(wide + x * channels + c), _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

const Int8Tiles TABLE = {begin, end, product, pack_rows, pack_columns,
                         gather, sum_bytes, sum_halves, stack, round, pool_row};

}  // namespace

extern "C" const Int8Tiles *JOIN(int8_, TILES_NAME)() { return &TABLE; }

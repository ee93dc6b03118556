// Compiled once for each instruction set, with TILES_NAME and TILES_LANES given and the
// compiler told of the set. Includes no header with code in it: the linker keeps one copy of an
// inline function, and that copy could be the one a lesser machine cannot run.
#include "tiles.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)
#define UNROLL _Pragma("GCC unroll 32")

namespace {

constexpr int LANES = TILES_LANES;
constexpr int BLOCK = 2 * LANES;
// As many sums as fit into the registers beside the operands.
constexpr int REGISTERS = LANES == 16 ? 32 : 16;
constexpr int ROW_PIXELS[5] = {0, LANES == 16 ? 12 : 8, LANES == 16 ? 12 : 6,
                               LANES == 16 ? 8 : 4, LANES == 16 ? 6 : 3};
constexpr int COLUMN_PIXELS = (REGISTERS - 4) / 2;
constexpr int PLANE_ROWS = LANES == 16 ? 6 : 4, PLANE_VECTORS = LANES == 16 ? 4 : 3;
constexpr int64_t CACHED_PLANES = 24;    // under a 3x3 kernel, should stay in the L1 cache
constexpr int64_t CACHED_RUNS = 96;      // the same under a 1x1 kernel
constexpr int64_t CACHED_FLOATS = 6144;  // weights of a block that should stay in the L1 cache

constexpr int AHEAD = 4;  // input channels between a weight's prefetch and its use

typedef float Vector __attribute__((vector_size(4 * LANES), may_alias));
typedef int Bits __attribute__((vector_size(4 * LANES), may_alias));
typedef float Loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Quad __attribute__((vector_size(16), may_alias));
typedef float LooseQuad __attribute__((vector_size(16), aligned(4), may_alias));

inline Vector load(const float *p) { return *reinterpret_cast<const Loose *>(p); }
inline void store(float *p, Vector v) { *reinterpret_cast<Loose *>(p) = v; }

inline Quad quad_sums(Vector v) {
  union {
    Vector whole;
    Quad parts[LANES / 4];
  } u;
  u.whole = v;
  Quad sum = u.parts[0];
  UNROLL for (int i = 1; i < LANES / 4; ++i) sum += u.parts[i];
  return sum;
}

// The sums of four vectors as the four elements of one.
inline Quad four_sums(Vector a, Vector b, Vector c, Vector d) {
  const Quad p = quad_sums(a), q = quad_sums(b), r = quad_sums(c), s = quad_sums(d);
  typedef int Index __attribute__((vector_size(16)));
#if defined(__clang__)
  const Quad pq = __builtin_shufflevector(p, q, 0, 4, 1, 5) + __builtin_shufflevector(p, q, 2, 6, 3, 7);
  const Quad rs = __builtin_shufflevector(r, s, 0, 4, 1, 5) + __builtin_shufflevector(r, s, 2, 6, 3, 7);
  return __builtin_shufflevector(pq, rs, 0, 1, 4, 5) + __builtin_shufflevector(pq, rs, 2, 3, 6, 7);
#else
  const Quad pq = __builtin_shuffle(p, q, Index{0, 4, 1, 5}) + __builtin_shuffle(p, q, Index{2, 6, 3, 7});
  const Quad rs = __builtin_shuffle(r, s, Index{0, 4, 1, 5}) + __builtin_shuffle(r, s, Index{2, 6, 3, 7});
  return __builtin_shuffle(pq, rs, Index{0, 1, 4, 5}) + __builtin_shuffle(pq, rs, Index{2, 3, 6, 7});
#endif
}

template <int CHANNELS, int PIXELS>
void rows_tile(const RowsTask &t, int64_t place, int64_t pixel) {
  Vector sums[CHANNELS][PIXELS] = {};
  const float *w[CHANNELS];
  const float *x[PIXELS];
  const int64_t row = t.kernel_rows * t.length;
  UNROLL for (int c = 0; c < CHANNELS; ++c) w[c] = t.weights + t.list[place + c] * row;
  UNROLL for (int p = 0; p < PIXELS; ++p) x[p] = t.x + t.x_pixels[pixel + p] * t.channels;
  for (int64_t r = 0; r < t.kernel_rows; ++r) {
    for (int64_t k = 0; k < t.length; k += LANES) {
      Vector weights[CHANNELS];
      UNROLL for (int c = 0; c < CHANNELS; ++c) weights[c] = load(w[c] + k);
      UNROLL for (int p = 0; p < PIXELS; ++p) {
        const Vector value = load(x[p] + k);
        UNROLL for (int c = 0; c < CHANNELS; ++c) sums[c][p] += weights[c] * value;
      }
    }
    UNROLL for (int c = 0; c < CHANNELS; ++c) w[c] += t.length;
    UNROLL for (int p = 0; p < PIXELS; ++p) x[p] += t.x_pitch;
  }
  Quad bias = {};
  UNROLL for (int c = 0; c < CHANNELS; ++c) bias[c] = t.bias[t.list[place + c]];
  UNROLL for (int p = 0; p < PIXELS; ++p) {
    const Vector none = {};
    Quad sum = four_sums(sums[0][p], CHANNELS > 1 ? sums[CHANNELS > 1 ? 1 : 0][p] : none,
                         CHANNELS > 2 ? sums[CHANNELS > 2 ? 2 : 0][p] : none,
                         CHANNELS > 3 ? sums[CHANNELS > 3 ? 3 : 0][p] : none) + bias;
    sum = sum < 0 ? Quad{} : sum;  // what is not a number stays so
    float *out = t.out + t.out_pixels[pixel + p] * t.out_channels + place;
    if (CHANNELS == 4) {
      *reinterpret_cast<LooseQuad *>(out) = sum;
    } else {
      UNROLL for (int c = 0; c < CHANNELS; ++c) out[c] = sum[c];
    }
  }
}

typedef void (*RowsTile)(const RowsTask &, int64_t, int64_t);

template <int CHANNELS>
void rows_strip(const RowsTask &t, int64_t place) {
  constexpr int MOST = ROW_PIXELS[CHANNELS];
  const int64_t pixels = t.last_pixel - t.first_pixel;
  const int64_t tiles = (pixels + MOST - 1) / MOST;
  int64_t pixel = t.first_pixel;
  for (int64_t i = 0; i < tiles; ++i) {
    // Even sizes: a tile of one pixel would cost as much as one of four.
    const int64_t end = t.first_pixel + pixels * (i + 1) / tiles;
    switch (end - pixel) {
#define CASE(n) \
  case n:       \
    if constexpr (n <= MOST) rows_tile<CHANNELS, n>(t, place, pixel); \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
      CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#undef CASE
    }
    pixel = end;
  }
}

void rows(const RowsTask *task) {
  const RowsTask &t = *task;
  int64_t place = t.first;
  for (; place + 4 <= t.last; place += 4) rows_strip<4>(t, place);
  switch (t.last - place) {
    case 3: rows_strip<3>(t, place); break;
    case 2: rows_strip<2>(t, place); break;
    case 1: rows_strip<1>(t, place); break;
  }
}

template <int VECTORS, int PIXELS>
void columns_tile(const ColumnsTask &t, int64_t first, int64_t last, int64_t pixel) {
  Vector sums[PIXELS][VECTORS];
  const float *x[PIXELS];
  const bool add = t.add || first > 0;
  UNROLL for (int p = 0; p < PIXELS; ++p) {
    x[p] = t.x + t.x_pixels[pixel + p] * t.channels;
    const float *out = t.out + t.out_pixels[pixel + p] * t.out_channels;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      sums[p][v] = add ? load(out + v * LANES) : Vector{};
      if (first == 0 && t.bias) sums[p][v] += load(t.bias + v * LANES);
    }
  }
  const int64_t step = t.tap_count * BLOCK;
  for (int64_t i = first; i < last; ++i) {
    const float *w = t.weights + t.list[i] * step;
    const float *next = t.weights + t.list[i + AHEAD < t.count ? i + AHEAD : i] * step;
    for (int64_t tap = 0; tap < t.tap_count; ++tap, w += BLOCK, next += BLOCK) {
      const int64_t at = t.taps[tap] + i;
      Vector weights[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; ++v) weights[v] = load(w + v * LANES);
      __builtin_prefetch(next);
      if (BLOCK > 16) __builtin_prefetch(next + 16);
      UNROLL for (int p = 0; p < PIXELS; ++p) {
        const float value = x[p][at];
        UNROLL for (int v = 0; v < VECTORS; ++v) sums[p][v] += weights[v] * value;
      }
    }
  }
  const bool relu = t.relu && last == t.count;
  UNROLL for (int p = 0; p < PIXELS; ++p) {
    float *out = t.out + t.out_pixels[pixel + p] * t.out_channels;
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      Vector sum = sums[p][v];
      if (relu) sum = sum < 0 ? Vector{} : sum;
      store(out + v * LANES, sum);
    }
  }
}

template <int VECTORS>
void columns_strip(const ColumnsTask &t, int64_t first, int64_t last) {
  const int64_t pixels = t.last_pixel - t.first_pixel;
  const int64_t tiles = (pixels + COLUMN_PIXELS - 1) / COLUMN_PIXELS;
  int64_t pixel = t.first_pixel;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t end = t.first_pixel + pixels * (i + 1) / tiles;
    switch (end - pixel) {
#define CASE(n) \
  case n:       \
    if constexpr (n <= COLUMN_PIXELS) columns_tile<VECTORS, n>(t, first, last, pixel); \
    break;
      CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
      CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#undef CASE
    }
    pixel = end;
  }
}

void columns(const ColumnsTask *task) {
  const ColumnsTask &t = *task;
  int64_t group = CACHED_FLOATS / (t.tap_count * BLOCK);
  if (group < 1) group = 1;
  int64_t first = 0;
  do {  // once also where no input channel is open: bias and ReLU remain
    int64_t last = first + group < t.count ? first + group : t.count;
    if (t.half) columns_strip<1>(t, first, last);
    else columns_strip<2>(t, first, last);
    first = last;
  } while (first < t.count);
}

template <int TAPS, bool BLOCKED, int CHANNELS, int VECTORS>
void planes_tile(const PlanesTask &t, int64_t first, int64_t last, int64_t place, int64_t pixel) {
  Vector sums[CHANNELS][VECTORS];
  // Weights of the first input channel, and of those that are needed next.
  const float *w[CHANNELS], *next[CHANNELS];
  float *out = t.out + place * t.out_plane + pixel;
  UNROLL for (int c = 0; c < CHANNELS; ++c) {
    const int64_t at = place + c, row = t.list[at];
    w[c] = t.weights + (BLOCKED ? at / ROW_BLOCK * t.row + at % ROW_BLOCK : row * t.row);
    next[c] = BLOCKED ? w[c] + t.row
                      : t.weights + t.list[at + CHANNELS < t.last ? at + CHANNELS : at] * t.row;
    const Vector start = Vector{} + (first ? 0 : t.bias[row]);
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      sums[c][v] = start;
      if (t.add || first) sums[c][v] += load(out + c * t.out_plane + v * LANES);
    }
  }
  const float *x = t.x + first * t.x_plane + pixel;
  for (int64_t i = first; i < last; ++i, x += t.x_plane) {
    const int64_t at = t.in[i] * (BLOCKED ? ROW_BLOCK : TAPS);
    if (BLOCKED) __builtin_prefetch(next[0] + at);
    else if (TAPS > 1 || i % 16 == 0) {
      UNROLL for (int c = 0; c < CHANNELS; ++c) {
        __builtin_prefetch(next[c] + at);
        if (TAPS > 1) __builtin_prefetch(next[c] + at + TAPS - 1);
      }
    }
    for (int tap = 0; tap < TAPS; ++tap) {
      const float *from = TAPS == 1 ? x : x + t.taps[tap];
      Vector values[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; ++v) values[v] = load(from + v * LANES);
      UNROLL for (int c = 0; c < CHANNELS; ++c) {
        const float weight = BLOCKED ? w[0][at + c] : w[c][at + tap];
        UNROLL for (int v = 0; v < VECTORS; ++v) sums[c][v] += values[v] * weight;
      }
    }
  }
  const bool end = last == t.count;
  UNROLL for (int v = 0; v < VECTORS; ++v) {
    const auto *bits = reinterpret_cast<const Bits *>(t.inside + pixel + v * LANES);
    const Bits inside = end ? *bits : ~Bits{};
    UNROLL for (int c = 0; c < CHANNELS; ++c) {
      Vector sum = sums[c][v];
      if (end && t.relu) sum = sum < 0 ? Vector{} : sum;
      store(out + c * t.out_plane + v * LANES, (Vector)((Bits)sum & inside));
    }
  }
}

template <int TAPS, bool BLOCKED, int VECTORS>
void planes_strip(const PlanesTask &t, int64_t first, int64_t last, int64_t pixel) {
  const int64_t block = BLOCKED ? ROW_BLOCK : t.last - t.first;
  for (int64_t start = t.first; start < t.last; start += block) {
    const int64_t places = t.last - start < block ? t.last - start : block;
    const int64_t tiles = (places + PLANE_ROWS - 1) / PLANE_ROWS;
    int64_t place = start;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t end = start + places * (i + 1) / tiles;
      switch (end - place) {
#define CASE(n) \
  case n:       \
    if constexpr (n <= PLANE_ROWS) planes_tile<TAPS, BLOCKED, n, VECTORS>(t, first, last, place, pixel); \
    break;
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#undef CASE
      }
      place = end;
    }
  }
}

template <int TAPS, bool BLOCKED>
void planes_of(const PlanesTask &t) {
  const int64_t most = TAPS == 1 ? CACHED_RUNS : CACHED_PLANES;
  const int64_t vectors = (t.last_pixel - t.first_pixel + LANES - 1) / LANES;
  const int64_t tiles = (vectors + PLANE_VECTORS - 1) / PLANE_VECTORS;
  int64_t first = 0;
  do {  // once also where no input channel is open: bias and ReLU remain
    const int64_t last = first + most < t.count ? first + most : t.count;
    int64_t vector = 0;
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t end = vectors * (i + 1) / tiles, pixel = t.first_pixel + vector * LANES;
      switch (end - vector) {
        case 1: planes_strip<TAPS, BLOCKED, 1>(t, first, last, pixel); break;
        case 2: planes_strip<TAPS, BLOCKED, 2>(t, first, last, pixel); break;
        case 3: planes_strip<TAPS, BLOCKED, 3>(t, first, last, pixel); break;
        case 4: planes_strip<TAPS, BLOCKED, PLANE_VECTORS>(t, first, last, pixel); break;
      }
      vector = end;
    }
    first = last;
  } while (first < t.count);
}

void planes(const PlanesTask *task) {
  if (task->blocked) planes_of<1, true>(*task);
  else if (task->tap_count == 1) planes_of<1, false>(*task);
  else planes_of<9, false>(*task);
}

void plane_means(const float *x, int64_t plane, int64_t planes, int64_t pixels, float scale,
                 float *means) {
  for (int64_t c = 0; c < planes; ++c, x += plane) {
    Vector sum = {};
    for (int64_t p = 0; p < pixels; p += LANES) sum += load(x + p);
    const Quad quad = quad_sums(sum);
    means[c] = (quad[0] + quad[1] + quad[2] + quad[3]) * scale;
  }
}

void add_pixels(const float *map, const int32_t *pixels, int64_t first, int64_t last,
                int64_t channels, float *sums) {
  for (int64_t c = 0; c < channels; c += LANES) {
    Vector even = load(sums + c), odd = {};
    int64_t p = first;
    for (; p + 2 <= last; p += 2) {
      even += load(map + pixels[p] * channels + c);
      odd += load(map + pixels[p + 1] * channels + c);
    }
    if (p < last) even += load(map + pixels[p] * channels + c);
    store(sums + c, even + odd);
  }
}

void products(const float *x, const float *weights, const float *bias, int64_t rows,
              int64_t length, float *out) {
  for (int64_t r = 0; r < rows; r += 4) {
    const int64_t count = rows - r < 4 ? rows - r : 4;
    const float *w[4];
    for (int i = 0; i < 4; ++i) w[i] = weights + (r + (i < count ? i : 0)) * length;
    Vector sums[4] = {};
    for (int64_t k = 0; k < length; k += LANES) {
      const Vector value = load(x + k);
      UNROLL for (int i = 0; i < 4; ++i) sums[i] += load(w[i] + k) * value;
    }
    const Quad sum = four_sums(sums[0], sums[1], sums[2], sums[3]);
    for (int i = 0; i < count; ++i) out[r + i] = sum[i] + (bias ? bias[r + i] : 0);
  }
}

const Tiles TABLE = {TEXT(TILES_NAME), BLOCK, PLANE_ROWS, rows, columns, planes, add_pixels, plane_means, products};

}  // namespace

extern "C" const Tiles *JOIN(tiles_, TILES_NAME)() { return &TABLE; }

// Inner loops of the network in int8, one copy for each instruction set.
//
// Maps are bytes, unsigned, in rows of pixels with the channels of a pixel together and a border
// of zeros. Products are taken four bytes at a time (a quad) and sixteen pixels by sixteen
// channels at a time (a tile), which is what VNNI and AMX do in hardware. Weights of two channel
// tiles, a pair, lie together.
#pragma once
#include <stdint.h>

constexpr int64_t LINE = 64;                 // bytes of a pixel that one tile takes: 16 quads
constexpr int64_t PAIR = 2048;               // bytes of weights for a line: [quad][32 channels][4]
constexpr int64_t PAIR_CHANNELS = 32;
constexpr int64_t COLUMN_BLOCK = 64;         // output channels that pack_columns packs together

inline int64_t lines(int64_t bytes) { return (bytes + LINE - 1) / LINE; }

// Up to 16 output pixels whose input lies at equal steps.
struct PixelTile {
  int32_t first, count;
};

// What becomes of the sums of a convolution after scale and bias of their channel, rounded to
// words of 16 bits.
enum class Finish {
  bytes,     // cut to bytes
  shortcut,  // kept as words
  block,     // added to the words that are there, ReLU; kept, and times `factor` as bytes
  stem,      // ReLU; kept, and times `factor` as bytes
};

struct ProductTask {
  const uint8_t *x;           // input
  const int32_t *x_pixels;    // of each output pixel: its input, in steps
  int64_t x_step;             // bytes of such a step
  int64_t x_row;              // bytes from the input of a pixel of a tile to that of the next
  int64_t segments;           // contiguous pieces under the kernel,
  int64_t segment_bytes;      // bytes from one to the next
  int64_t quads;              // and quads of each that count; the rest of its last line does not
  const int8_t *weights;      // [pair][segment][line][PAIR]
  const PixelTile *tiles;
  int64_t first_tile, last_tile;
  int64_t channels;           // that are written, a multiple of 4
  Finish finish;
  const float *scale, *bias;  // of each channel, as many as there are in whole pairs
  const int32_t *out_pixels;  // of each output pixel: its place in the output maps
  uint8_t *narrow;            // bytes; null = none
  int64_t narrow_channels;    // of a pixel
  int16_t *wide;              // words, whole pairs in the order of word_at
  int64_t wide_channels;
  int16_t factor;             // bytes for 32768 words
};

struct GatherTask {
  const uint8_t *x;
  const int32_t *x_pixels;    // of each output pixel: input pixel under the first tap
  int64_t channels;           // bytes a pixel
  int64_t rows, length;       // of the kernel, and bytes of each
  int64_t x_pitch;            // bytes from one row to the next
  int64_t first_pixel, last_pixel;
  uint8_t *out;               // [pixel][row][length]
  int64_t out_row;            // bytes a pixel of it
};

struct ColumnsPacking {
  const int8_t *weights;      // of a block of 64 output channels: [tap][input channel][64]
  int64_t taps;               // 9 or 1
  int64_t channels;           // input channels there are
  const int32_t *list;        // open input channels
  int64_t count;
  bool gathered;              // one segment of all taps, or three of three
  int8_t *packed;             // two pairs
};

// Rows of weights of 3x3 kernels of which some input channels are left.
struct Compression {
  const int8_t *weights;      // [output channel][9][chunk][64]
  const int32_t *list;        // output channels
  int64_t count;
  const uint64_t *bits;       // of each chunk: which input channels are open
  int64_t chunks;
  int64_t channels;           // open ones, up to a multiple of 4: from one tap to the next
  bool gathered;              // one segment of nine taps, or three of three
  int8_t *out;                // [output channel][segment], in whole lines
};

struct Int8Tiles {
  int64_t pixels, bytes;      // what a product takes at least, of 16 channels,
  int64_t cycles;             // and how long that takes, about
  void (*begin)();            // before and after products on a thread
  void (*end)();
  void (*product)(const ProductTask *);
  // Rows of up to 16 output channels, each of `count` lines, as one tile of a pair.
  void (*pack_rows)(const int8_t *weights, int64_t count, const int32_t *list, int64_t channels,
                    int8_t *packed);
  void (*pack_columns)(const ColumnsPacking *);
  void (*gather)(const GatherTask *);
  // sums[c] += the bytes of channel c at pixels first ... last - 1
  void (*sum_bytes)(const uint8_t *map, const int32_t *pixels, int64_t count, int64_t channels,
                    int32_t *sums);
  // The same of words.
  void (*sum_words)(const int16_t *map, const int32_t *pixels, int64_t count, int64_t channels,
                    int32_t *sums);
  // Floats in half precision.
  void (*halve)(const float *x, int64_t count, uint16_t *out);
  // out[r] = bias[r] + weights[r] . x, weights in half precision; length is a multiple of 16; bias
  // may be null
  void (*products)(const float *x, const uint16_t *weights, const float *bias, int64_t rows,
                   int64_t length, float *out);
  // Red, green and blue of pixels as the bytes of one number, `step` numbers from one to the next.
  void (*stack)(const uint8_t *const *planes, int64_t count, int64_t step, uint32_t *out);
  // out[i] = 255 x[i], rounded, 0 to 255
  void (*round)(const float *x, int64_t count, uint8_t *out);
  // Maximum of 3x3 at stride 2 of one output row, as bytes and, times ratio, as words.
  void (*pool_row)(const uint8_t *map, int64_t pitch, int64_t channels, int64_t width,
                   float ratio, uint8_t *narrow, int16_t *wide, int64_t wide_channels);
};

// Rows as the reading of their inputs has them; a line behind the last is written to as well.
void compress(const Compression &task);

// Which channel of a pair a word is of.
inline int64_t word_at(int64_t position) {
  return position / 4 % 2 * 16 + position / 8 * 4 + position % 4;
}

// Which output channel of a block of 64 stands at a position of a row of pack_columns.
inline int64_t column_at(int64_t position) {
  const int64_t quarter = position / 16, rest = position % 16;
  return (rest / 8 * 2 + rest % 2) * 16 + quarter * 4 + rest % 8 / 2;
}

#if defined(__x86_64__)
extern "C" const Int8Tiles *int8_avx512vnni();
extern "C" const Int8Tiles *int8_amx();
#endif

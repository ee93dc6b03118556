// Inner loops of the network in int8, one copy for each instruction set.
//
// Maps are bytes, unsigned, in rows of pixels with the channels of a pixel together and a border
// of zeros. Products are taken four bytes at a time (a quad) and sixteen pixels by sixteen
// channels at a time (a tile), which is what VNNI and AMX do in hardware.
#pragma once
#include <stdint.h>

constexpr int64_t LINE = 64;                 // bytes of a pixel that one tile takes: 16 quads
constexpr int64_t TILE = 1024;               // bytes: [quad][channel][4]
constexpr int64_t COLUMN_BLOCK = 64;         // output channels that pack_columns packs together

inline int64_t lines(int64_t bytes) { return (bytes + LINE - 1) / LINE; }

// Up to 16 output pixels whose input lies at equal steps.
struct PixelTile {
  int32_t first, count;
};

// What becomes of the sums of a convolution, after scale and bias of their channel.
enum class Finish {
  inner,     // ReLU, rounded to bytes
  shortcut,  // kept as half floats
  block,     // added to the half floats that are there, ReLU, kept and rounded to bytes
  stem,      // ReLU, kept and rounded to bytes
  pooled,    // ReLU, rounded to bytes; what is kept comes later
};

struct ProductTask {
  const uint8_t *x;           // input
  const int32_t *x_pixels;    // of each output pixel: its input, in steps
  int64_t x_step;             // bytes of such a step
  int64_t x_row;              // bytes from the input of a pixel of a tile to that of the next
  int64_t segments;           // contiguous pieces under the kernel,
  int64_t segment_bytes;      // bytes from one to the next
  int64_t quads;              // and quads of each that count; the rest of its last line does not
  const int8_t *weights;      // [channel tile][segment][line][TILE]
  const PixelTile *tiles;
  int64_t first_tile, last_tile;
  int64_t channel_tiles;
  int64_t channels;           // that are written, a multiple of 4
  Finish finish;
  const float *scale, *bias;  // of each channel, as many as there are in whole tiles
  const int32_t *out_pixels;  // of each output pixel: its place in the output maps
  int64_t out_channels;       // of a pixel of those
  uint8_t *narrow;            // bytes; null = none
  uint16_t *wide;             // half floats
  float inverse;              // bytes for 1.0, of `narrow` where a wide value is rounded to it
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
  const int8_t *weights;      // of a block of 64 output channels: [input channel][9][64]
  const int32_t *list;        // open input channels
  int64_t count;
  bool gathered;              // one segment of nine taps, or three of three
  int8_t *packed;             // four channel tiles
};

struct Int8Tiles {
  void (*begin)();            // before and after products on a thread
  void (*end)();
  void (*product)(const ProductTask *);
  // Rows of up to 16 output channels, each of `count` lines, as a channel tile.
  void (*pack_rows)(const int8_t *weights, int64_t count, const int32_t *list, int64_t channels,
                    int8_t *packed);
  void (*pack_columns)(const ColumnsPacking *);
  void (*gather)(const GatherTask *);
  // sums[c] += the bytes of channel c at pixels first ... last - 1
  void (*sum_bytes)(const uint8_t *map, const int32_t *pixels, int64_t count, int64_t channels,
                    int32_t *sums);
  // sums[c] += the half floats of channel c
  void (*sum_halves)(const uint16_t *map, const int32_t *pixels, int64_t count, int64_t channels,
                     float *sums);
  // Red, green and blue of pixels as the bytes of one number, `step` numbers from one to the next.
  void (*stack)(const uint8_t *const *planes, int64_t count, int64_t step, uint32_t *out);
  // out[i] = 255 x[i], rounded, 0 to 255
  void (*round)(const float *x, int64_t count, uint8_t *out);
  // Maximum of 3x3 at stride 2 of one output row, as bytes and, times scale, as half floats.
  void (*pool_row)(const uint8_t *map, int64_t pitch, int64_t channels, int64_t width,
                   float scale, uint8_t *narrow, uint16_t *wide);
};

// Where output channel 64 b + position of a block's row of pack_columns comes from.
inline int64_t column_at(int64_t position) {
  return position % 16 / 4 * 16 + position / 16 * 4 + position % 4;
}

#if defined(__x86_64__)
extern "C" const Int8Tiles *int8_avx512vnni();
extern "C" const Int8Tiles *int8_amx();
#endif

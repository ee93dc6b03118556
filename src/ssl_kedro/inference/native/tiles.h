// Inner loops of the gated network, one copy for each instruction set.
//
// Maps lie in memory as rows of pixels, the channels of a pixel together (NHWC), with a border
// of zeros around them, so that no loop asks whether a tap falls outside.
#pragma once
#include <stdint.h>

// Convolution whose output channels are chosen: each is a dot product of its weight row with
// the pixels under the kernel. Rows of channels that are not in the list are not read.
struct RowsTask {
  const float *x;            // input map; a pixel is `channels` floats
  const int32_t *x_pixels;   // of each output pixel: input pixel under the first tap
  int64_t x_pitch;           // floats from one row of the input to the next
  int64_t kernel_rows;       // rows of the kernel
  int64_t length;            // floats of one kernel row: kernel columns x channels
  int64_t channels;          // floats a pixel
  const float *weights;      // row c at c * kernel_rows * length
  const float *bias;         // of row c
  const int32_t *list;       // the open rows
  int64_t first, last;       // places in the list to compute
  float *out;                // output map; a pixel is `out_channels` floats, one for each place
  const int32_t *out_pixels; // of each output pixel: its place in the output map
  int64_t out_channels;
  int64_t first_pixel, last_pixel;
};

// Convolution whose input channels are chosen, for one block of output channels.
struct ColumnsTask {
  const float *x;            // input map; a pixel is `channels` floats, one for each place
  const int32_t *x_pixels;   // of each output pixel: input pixel under the first tap
  int64_t channels;
  const int32_t *taps;       // of each tap: floats from the first
  int64_t tap_count;
  const float *weights;      // [input channel][tap][block]
  const int32_t *list;       // the input channel of each place
  int64_t count;             // places
  const float *bias;         // of the block; null = none
  int64_t add;               // whether what is in the output map is added
  int64_t relu;
  int64_t half;              // only the first half of the block is there
  float *out;                // output map at the block's first channel
  const int32_t *out_pixels;
  int64_t out_channels;      // floats a pixel of the output map
  int64_t first_pixel, last_pixel;
};

constexpr int64_t ROW_BLOCK = 16;

// Convolution whose input and output channels are both chosen. Each channel is a plane of its
// own, the pixels of its rows one after the other with a column of zeros between them: the weights
// of a pair of channels lie together, and each is multiplied with a run of pixels.
struct PlanesTask {
  const float *x;            // the run of the first place's plane
  int64_t x_plane;           // floats from one plane to the next
  const int32_t *taps;       // of each tap: floats from the pixel
  int64_t tap_count;         // 1 or 9
  const float *weights;      // row c at c * row: [input channel][tap]
  int64_t row;
  int64_t blocked;           // instead, block b of ROW_BLOCK rows at b * row, with one tap: [input
                             // channel][ROW_BLOCK]; all rows are listed
  const float *bias;         // of row c
  const int32_t *in;         // the input channel of each place
  int64_t count;             // places
  const int32_t *list;       // the open rows
  int64_t first, last;       // places in the list to compute; whole blocks
  float *out;                // the run of the first place's plane
  int64_t out_plane;
  const int32_t *inside;     // of each pixel of the run: all bits set, or none in the border
  int64_t add;               // whether what is in the output planes is added
  int64_t relu;
  int64_t first_pixel, last_pixel;  // of the run; the first is a multiple of 16
};

struct Tiles {
  const char *name;
  int64_t block;  // output channels of a ColumnsTask
  int64_t rows_of_planes;  // output channels that a PlanesTask computes at a time
  void (*rows)(const RowsTask *);
  void (*columns)(const ColumnsTask *);
  void (*planes)(const PlanesTask *);
  // sums[c] += map[pixels[p]][c] for c < channels, a multiple of 16
  void (*add_pixels)(const float *map, const int32_t *pixels, int64_t first, int64_t last,
                     int64_t channels, float *sums);
  // means[c] = sum of plane c over so many pixels, a multiple of 16, times scale
  void (*plane_means)(const float *x, int64_t plane, int64_t planes, int64_t pixels, float scale,
                      float *means);
  // out[r] = bias[r] + weights[r] . x; length is a multiple of 16; bias may be null
  void (*products)(const float *x, const float *weights, const float *bias, int64_t rows,
                   int64_t length, float *out);
};

extern "C" const Tiles *tiles_portable();
#if defined(__x86_64__)
extern "C" const Tiles *tiles_avx2();
extern "C" const Tiles *tiles_avx512();
#endif

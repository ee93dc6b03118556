// The gated ResNet-18: packed weights, geometry of the maps, memory of a thread.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <memory>
#include <new>
#include <vector>

#include "pool.h"
#include "tiles.h"

// Floats at an address that a cache line starts at.
class Floats {
 public:
  Floats() = default;
  explicit Floats(size_t count) : count_(count) {
    // Weights are read in jumps over many pages: large pages save the look-ups.
    const size_t huge = size_t(2) << 20, wanted = count * sizeof(float);
    const size_t step = wanted >= huge ? huge : 64;
    const size_t bytes = (wanted + step) / step * step;
    data_.reset(static_cast<float *>(aligned_alloc(step, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (step == huge) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
    for (size_t i = 0; i < bytes / sizeof(float); ++i) data_.get()[i] = 0;
  }
  float *at(size_t i = 0) { return data_.get() + i; }
  const float *at(size_t i = 0) const { return data_.get() + i; }
  size_t size() const { return count_; }

 private:
  struct Free {
    void operator()(float *p) const { free(p); }
  };
  std::unique_ptr<float[], Free> data_;
  size_t count_ = 0;
};

// A map with a border of one pixel; channels are a multiple of 16.
struct Map {
  int64_t height = 0, width = 0, channels = 0;
  int64_t pitch() const { return width + 2; }
  size_t floats() const { return size_t(height + 2) * pitch() * channels; }
};

// Floats of a pixel between the convolutions when so many channels are open: whole cache lines,
// an odd number of them, since at powers of two all pixels would share a few places of the cache.
inline int64_t inner_channels(int64_t open) { return ((open + 15) / 16 | 1) * 16; }

struct Block {
  int64_t in, kept, on, out, stride, hidden, downsample;
  Map from, to;
  int source, target;  // which maps of a sample it reads and writes
  Floats rows, rows_bias;                  // conv1: [kept][3][3 x in]
  Floats columns, columns_bias;            // conv2: [out block][kept][9][block]
  Floats shortcut, shortcut_bias;          // downsample: [out block][in][block]
  Floats squeeze, squeeze_bias, expand;    // gate
  std::vector<int32_t> from_pixels;        // of each output pixel: input pixel, first tap
  std::vector<int32_t> to_pixels;          // of each output pixel: pixel in `to`
  std::vector<int32_t> source_pixels;      // of each input pixel: pixel in `from`
  std::vector<int32_t> inner_pixels;       // the same, first tap of conv2
  bool late;                               // weights outweigh the maps: many samples at a time
  int64_t pixels() const { return to.height * to.width; }
};

// What one thread needs for the samples it has in hand.
struct Workspace {
  Floats image, stem, inner, pooled, hidden, logits;
  std::vector<std::vector<Floats>> maps;    // by map and slot
  std::vector<std::vector<int32_t>> lists;  // by slot: open channels of the block at hand
};

class Network {
 public:
  Network(const int64_t *shape, const float *weights, int threads, const Tiles *tiles);
  void run(const void *images, bool bytes, int64_t count, const uint8_t *forced, float *features,
           uint8_t *masks);
  static bool readable(const int64_t *shape, int64_t shape_count, int64_t weight_count);

 private:
  void pack(const float *weights);
  void prepare(Workspace &space) const;
  void normalise(Workspace &space, const void *image, bool bytes, int part, int parts) const;
  void convolve_stem(Workspace &space, float *map, int part, int parts) const;
  void pool_stem(Workspace &space, float *map, int part, int parts) const;
  void gate(size_t index, Workspace &space, const float *map, const uint8_t *forced,
            std::vector<int32_t> &list) const;
  void rows(const Block &block, const float *map, const std::vector<int32_t> &list, float *inner,
            int64_t first, int64_t last, int64_t first_pixel, int64_t last_pixel) const;
  void columns(const Block &block, const float *map, const std::vector<int32_t> &list,
               const float *inner, float *target, int64_t out_block, int64_t first_pixel,
               int64_t last_pixel) const;
  void clear_border(const Block &block, float *inner, size_t open) const;
  void late(size_t index, Workspace &space, int64_t first, int64_t last, const uint8_t *forced,
            uint8_t *masks) const;
  void samples(Workspace &space, const void *images, bool bytes, int64_t first, int64_t last,
               const uint8_t *forced, float *features, uint8_t *masks) const;
  int prepare_step(int step, const uint8_t *forced, uint8_t *masks);
  void do_item(int step, int item, int items, const void *image, bool bytes);
  void mean(const Block &block, const float *map, float *means) const;
  void record(size_t index, const std::vector<int32_t> &list, uint8_t *masks) const;
  const void *image(const void *images, bool bytes, int64_t index) const;

  const Tiles *tiles_;
  int64_t kernel_, step_, padding_, pooled_, side_, width_;
  Map stem_map_;                            // before the pooling
  float scale_[3], shift_[3];               // of the pixels
  Floats stem_weights_, stem_bias_;
  std::vector<int32_t> stem_from_, stem_to_, stem_taps_;
  std::vector<Block> blocks_;
  std::vector<Map> maps_;
  std::vector<int64_t> slots_;              // of each map
  std::vector<int64_t> masks_at_;           // of each block: its part of a mask row
  int64_t decided_ = 0;                     // length of a mask row: channels that depend
  int64_t group_ = 1;
  size_t inner_floats_ = 0;
  std::vector<int32_t> everything_;         // 0, 1, 2 ...
  std::vector<Workspace> spaces_;
  Pool threads_;
  Steps steps_;                             // of one sample on all threads
};

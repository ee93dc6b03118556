// Pixels in, the map behind the first convolution and perhaps its pooling out (NHWC).
#pragma once
#include "memory.h"
#include "shape.h"
#include "tiles.h"

class Stem {
 public:
  Stem() = default;
  // to: the map of the convolution.
  Stem(Reader<float> &reader, const Shape &shape, const Map &to, const Tiles *tiles);
  // Floats that an image takes with its border.
  size_t image_floats() const { return pitch() * pitch() * 3; }
  // Part of an image, bytes or floats, as normalised pixels.
  void normalise(const void *image, bool bytes, float *pixels, int part, int parts) const;
  // Some pixels of the map.
  void convolve(const float *pixels, float *map, Share some) const;
  // Some lines of the pooled map.
  void pool(const float *map, const Map &to, float *pooled, Share lines) const;

 private:
  int64_t pitch() const { return side_ + 2 * padding_; }

  const Tiles *tiles_ = nullptr;
  int64_t side_ = 0, padding_ = 0, width_ = 0;
  Map to_;
  float scale_[3], shift_[3];               // of the pixels
  Floats weights_, bias_;
  std::vector<int32_t> from_pixels_, to_pixels_, taps_;
};

// (out, in, taps) as [block of out][in][tap][block], zeros beyond the last channel.
Floats packed_columns(const float *weights, int64_t out, int64_t in, int64_t taps, int64_t block);

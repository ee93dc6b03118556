// The gate of a block: which of its channels are open for an image.
#pragma once
#include <cmath>
#include <type_traits>

#include "memory.h"
#include "tiles.h"

template <class Weight, class Kernels>
class GateOf {
 public:
  // Floats that one takes.
  static int64_t floats(int64_t in, int64_t hidden, int64_t dependent) {
    return hidden * (in + 1 + dependent);
  }

  GateOf() = default;
  // channels: of the pooled input, those of the map; keep: makes weights of floats.
  template <class Keep>
  GateOf(Reader<float> &reader, int64_t in, int64_t channels, int64_t hidden, int64_t dependent,
         Keep keep)
      : channels_(channels), hidden_(hidden), dependent_(dependent) {
    Floats squeeze = packed_rows(reader.take(hidden * in), hidden, in, 1, channels);
    squeeze_bias_ = copied(reader.take(hidden), hidden, hidden);
    Floats expand = packed_rows(reader.take(dependent * hidden), dependent, hidden, 1, length());
    if (!std::is_same<Weight, float>::value) level(squeeze, expand);
    squeeze_ = keep(std::move(squeeze));
    expand_ = keep(std::move(expand));
  }

  // Logits of images whose means lie one after the other; some rows of the weights serve all of
  // them in turn. hidden has room for `length()` numbers an image, logits for `dependent`.
  void logits(const Kernels *tiles, int64_t count, const float *pooled, float *hidden,
              float *logits) const {
    const int64_t step = 16;
    for (int64_t r = 0; r < hidden_; r += step)
      for (int64_t i = 0; i < count; ++i)
        tiles->products(pooled + i * channels_, squeeze_.at(r * channels_), squeeze_bias_.at(r),
                        std::min(step, hidden_ - r), channels_, hidden + i * length() + r);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t h = 0; h < length(); ++h) {
        float &value = hidden[i * length() + h];
        if (h >= hidden_ || value < 0) value = 0;
      }
    for (int64_t r = 0; r < dependent_; r += step)
      for (int64_t i = 0; i < count; ++i)
        tiles->products(hidden + i * length(), expand_.at(r * length()), nullptr,
                        std::min(step, dependent_ - r), length(), logits + i * dependent_ + r);
  }

  // Adds the channels from `on` whose logit is at least 0, or those that are wanted.
  void add_open(const float *logits, int64_t on, const uint8_t *wanted,
                std::vector<int32_t> &list) const {
    for (int64_t c = 0; c < dependent_; ++c)
      if (wanted ? wanted[c] != 0 : logits[c] >= 0) list.push_back(int32_t(on + c));
  }

 private:
  int64_t length() const { return rounded(hidden_, 16); }

  // A power of two of about the size of the largest number.
  static float size(const float *row, int64_t count) {
    float most = 0;
    for (int64_t i = 0; i < count; ++i) most = std::max(most, fabsf(row[i]));
    int exponent = 0;
    if (most > 0 && std::isfinite(most)) frexpf(most, &exponent);
    return ldexpf(1, std::clamp(exponent, -100, 100));
  }

  // Brings rows to sizes that half precision can say; signs of logits, which count, stay.
  void level(Floats &squeeze, Floats &expand) {
    for (int64_t h = 0; h < hidden_; ++h) {
      float *row = squeeze.at(h * channels_), by = size(row, channels_);
      for (int64_t c = 0; c < channels_; ++c) row[c] /= by;
      *squeeze_bias_.at(h) /= by;
      for (int64_t d = 0; d < dependent_; ++d) *expand.at(d * length() + h) *= by;
    }
    for (int64_t d = 0; d < dependent_; ++d) {
      float *row = expand.at(d * length()), by = size(row, length());
      for (int64_t h = 0; h < length(); ++h) row[h] /= by;
    }
  }

  int64_t channels_ = 0, hidden_ = 0, dependent_ = 0;
  Buffer<Weight> squeeze_, expand_;
  Floats squeeze_bias_;
};

// Of a network in floats.
struct Gate : GateOf<float, Tiles> {
  Gate() = default;
  Gate(Reader<float> &reader, int64_t in, int64_t channels, int64_t hidden, int64_t dependent)
      : GateOf(reader, in, channels, hidden, dependent, [](Floats weights) { return weights; }) {}
};

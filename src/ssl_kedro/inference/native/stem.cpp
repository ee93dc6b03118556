#include "stem.h"

Floats packed_columns(const float *weights, int64_t out, int64_t in, int64_t taps, int64_t block) {
  Floats packed(rounded(out, block) * in * taps);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        *packed.at(((o / block * in + i) * taps + t) * block + o % block) =
            weights[(o * in + i) * taps + t];
  return packed;
}

Stem::Stem(Reader<float> &reader, const Shape &shape, const Map &to, const Tiles *tiles)
    : tiles_(tiles),
      side_(shape.side()),
      padding_(shape.padding()),
      width_(shape.width()),
      to_(to) {
  const float *mean = reader.take(3), *deviation = reader.take(3);
  for (int c = 0; c < 3; ++c) {
    scale_[c] = 1 / deviation[c];
    shift_[c] = -mean[c] / deviation[c];
  }
  const int64_t kernel = shape.kernel(), taps = kernel * kernel;
  weights_ = packed_columns(reader.take(width_ * 3 * taps), width_, 3, taps, tiles_->block);
  bias_ = copied(reader.take(width_), width_, rounded(width_, tiles_->block));
  from_pixels_ = pixel_places(to.height, to.width, shape.step(), pitch(), 0);
  to_pixels_ = pixel_places(to.height, to.width, 1, to.pitch(), to.pitch() + 1);
  for (int64_t y = 0; y < kernel; ++y)
    for (int64_t x = 0; x < kernel; ++x) taps_.push_back(int32_t((y * pitch() + x) * 3));
}

void Stem::normalise(const void *image, bool bytes, float *pixels, int part, int parts) const {
  const int64_t plane = side_ * side_;
  const Share lines = share(side_, part, parts);
  for (int64_t y = lines.first; y < lines.last; ++y) {
    float *out = pixels + ((y + padding_) * pitch() + padding_) * 3;
    for (int64_t c = 0; c < 3; ++c) {
      const int64_t start = c * plane + y * side_;
      if (bytes) {
        const uint8_t *in = static_cast<const uint8_t *>(image) + start;
        const float scale = scale_[c] / 255;
        for (int64_t x = 0; x < side_; ++x) out[x * 3 + c] = in[x] * scale + shift_[c];
      } else {
        const float *in = static_cast<const float *>(image) + start;
        for (int64_t x = 0; x < side_; ++x) out[x * 3 + c] = in[x] * scale_[c] + shift_[c];
      }
    }
  }
}

void Stem::convolve(const float *pixels, float *map, Share some) const {
  static const int32_t colours[3] = {0, 1, 2};
  ColumnsTask task = {};
  task.x = pixels;
  task.x_pixels = from_pixels_.data();
  task.channels = 3;
  task.taps = taps_.data();
  task.tap_count = int64_t(taps_.size());
  task.list = colours;
  task.count = 3;
  task.relu = 1;
  task.out_pixels = to_pixels_.data();
  task.out_channels = to_.channels;
  task.first_pixel = some.first, task.last_pixel = some.last;
  for (int64_t start = 0; start < width_; start += tiles_->block) {
    task.weights = weights_.at(start * 3 * task.tap_count);
    task.bias = bias_.at(start);
    task.half = to_.channels - start < tiles_->block;
    task.out = map + start;
    tiles_->columns(&task);
  }
}

// Maximum of 3x3 at stride 2; the border of zeros does no harm behind a ReLU.
void Stem::pool(const float *map, const Map &to, float *pooled, Share lines) const {
  const int64_t channels = to.channels, pitch = to_.pitch() * channels;
  for (int64_t y = lines.first; y < lines.last; ++y)
    for (int64_t x = 0; x < to.width; ++x) {
      const float *in = map + 2 * y * pitch + 2 * x * channels;
      float *out = pooled + ((y + 1) * to.pitch() + x + 1) * channels;
      std::copy(in, in + channels, out);
      for (int tap = 1; tap < 9; ++tap) {
        const float *other = in + tap / 3 * pitch + tap % 3 * channels;
        for (int64_t c = 0; c < channels; ++c) out[c] = other[c] > out[c] || other[c] != other[c] ? other[c] : out[c];
      }
    }
}

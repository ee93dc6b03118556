// Memory that a cache line starts at, and how maps and weights lie in it.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

// Values at an address that a cache line starts at, zeros at first.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) : count_(count) {
    // Weights are read in jumps over many pages: large pages save the look-ups.
    const size_t huge = size_t(2) << 20, wanted = count * sizeof(T);
    const size_t step = wanted >= huge ? huge : 64;
    const size_t bytes = (wanted + step) / step * step;
    data_.reset(static_cast<T *>(aligned_alloc(step, bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
    if (step == huge) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
    std::fill(data_.get(), data_.get() + bytes / sizeof(T), T(0));
  }
  T *at(size_t i = 0) { return data_.get() + i; }
  const T *at(size_t i = 0) const { return data_.get() + i; }
  size_t size() const { return count_; }

 private:
  struct Free {
    void operator()(T *p) const { free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t count_ = 0;
};

using Floats = Buffer<float>;

// A map with a border of one pixel; channels are a multiple of 16.
struct Map {
  int64_t height = 0, width = 0, channels = 0;
  int64_t pitch() const { return width + 2; }
  size_t values() const { return size_t(height + 2) * pitch() * channels; }
};

inline int64_t rounded(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

// So many floats in whole cache lines, an odd number of them: where things lie a power of two
// apart, all share a few places of the cache.
inline int64_t odd_lines(int64_t floats) { return ((floats + 15) / 16 | 1) * 16; }

// Takes arrays one after the other.
template <class T>
struct Reader {
  const T *at;
  const T *take(int64_t count) {
    const T *found = at;
    at += count;
    return found;
  }
};

// (out, in, taps) as [out][tap][in], the input channels of a pixel as many as in its map.
inline Floats packed_rows(const float *weights, int64_t out, int64_t in, int64_t taps,
                          int64_t channels) {
  Floats packed(out * taps * channels);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        *packed.at((o * taps + t) * channels + i) = weights[(o * in + i) * taps + t];
  return packed;
}

inline Floats copied(const float *values, int64_t count, int64_t size) {
  Floats copy(size);
  std::copy(values, values + count, copy.at());
  return copy;
}

// Of each pixel in reading order: its place where pixels lie `stride` apart in rows of `pitch`.
inline std::vector<int32_t> pixel_places(int64_t height, int64_t width, int64_t stride,
                                         int64_t pitch, int64_t offset) {
  std::vector<int32_t> places;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      places.push_back(int32_t((y * pitch + x) * stride + offset));
  return places;
}

struct Share {
  int64_t first, last;
};

// Part of a range, in whole steps.
inline Share share(int64_t count, int64_t part, int64_t parts, int64_t step = 1) {
  const int64_t steps = (count + step - 1) / step;
  return {std::min(count, steps * part / parts * step),
          std::min(count, steps * (part + 1) / parts * step)};
}

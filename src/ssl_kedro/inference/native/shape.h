// The numbers that say what a network is like, in the order in which Python writes them.
#pragma once
#include <stdint.h>

struct Shape {
  static constexpr int64_t HEADER = 8, PER_BLOCK = 7;
  struct Block {
    int64_t in, kept, on, out, stride, hidden, downsample;
    int64_t dependent() const { return kept - on; }
  };

  const int64_t *numbers;
  int64_t blocks() const { return numbers[0]; }
  int64_t kernel() const { return numbers[1]; }
  int64_t step() const { return numbers[2]; }
  int64_t padding() const { return numbers[3]; }
  bool pooled() const { return numbers[4] != 0; }
  int64_t width() const { return numbers[5]; }
  int64_t side() const { return numbers[6]; }
  Block block(int64_t index) const {
    const int64_t *s = numbers + HEADER + index * PER_BLOCK;
    return {s[0], s[1], s[2], s[3], s[4], s[5], s[6]};
  }

  // Whether there are as many numbers as they say, and they do not contradict each other.
  bool readable(int64_t count) const {
    if (count < HEADER || blocks() < 1 || count != HEADER + blocks() * PER_BLOCK) return false;
    for (int64_t i = 1; i < HEADER; ++i)
      if (numbers[i] < (i == 3 || i == 4 || i == 7 ? 0 : 1)) return false;
    int64_t channels = width();
    for (int64_t b = 0; b < blocks(); ++b) {
      const Block s = block(b);
      if (s.in != channels || s.kept < 0 || s.on < 0 || s.on > s.kept || s.out < 1 || s.stride < 1)
        return false;
      if ((s.hidden > 0) != (s.on < s.kept)) return false;
      if (!s.downsample && (s.in != s.out || s.stride != 1)) return false;
      channels = s.out;
    }
    return true;
  }
};

// The numbers that say what a network is like, in the order in which Python writes them.
#pragma once
#include <stdint.h>

struct Shape {
  static constexpr int64_t HEADER = 8, PER_BLOCK = 10;
  struct Block {
    int64_t in, kept, on, out, stride, hidden, downsample;
    int64_t kept2, on2, hidden2;  // of a bottleneck's second layer; kept2 = -1: a basic block
    bool bottleneck() const { return kept2 >= 0; }
    int64_t dependent() const { return kept - on; }
    int64_t dependent2() const { return bottleneck() ? kept2 - on2 : 0; }
    // Weights of the convolutions, without the shortcut's.
    int64_t weights() const {
      return bottleneck() ? in * kept + 9 * kept * kept2 + kept2 * out : 9 * kept * (in + out);
    }
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
    return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]};
  }
  // Blocks are all of one kind.
  bool bottlenecks() const { return block(0).bottleneck(); }

  // Whether there are as many numbers as they say, and they do not contradict each other.
  bool readable(int64_t count) const {
    if (count < HEADER || blocks() < 1 || count != HEADER + blocks() * PER_BLOCK) return false;
    for (int64_t i = 1; i < HEADER; ++i)
      if (numbers[i] < (i == 3 || i == 4 || i == 7 ? 0 : 1)) return false;
    int64_t channels = width();
    for (int64_t b = 0; b < blocks(); ++b) {
      const Block s = block(b);
      if (s.in != channels || s.out < 1 || s.stride < 1 || !layer_readable(s.kept, s.on, s.hidden))
        return false;
      if (s.bottleneck() != bottlenecks()) return false;
      if (s.bottleneck() && !layer_readable(s.kept2, s.on2, s.hidden2)) return false;
      if (!s.downsample && (s.in != s.out || s.stride != 1)) return false;
      channels = s.out;
    }
    return true;
  }

 private:
  static bool layer_readable(int64_t kept, int64_t on, int64_t hidden) {
    return kept >= 0 && on >= 0 && on <= kept && (hidden > 0) == (on < kept);
  }
};

#include "network.h"

#include <string.h>

#include <algorithm>

namespace {

int64_t rounded(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

constexpr int64_t HEADER = 8, PER_BLOCK = 7;
// A block whose weights take more than this is read for many samples at a time.
constexpr int64_t LATE_FLOATS = 1 << 18;
constexpr int64_t GROUP_FLOATS = 4 << 20;

struct Reader {
  const float *at;
  const float *take(int64_t count) {
    const float *found = at;
    at += count;
    return found;
  }
};

// Floats that the weights of a shape take.
int64_t weight_floats(const int64_t *shape) {
  int64_t count = 6 + shape[5] * (3 * shape[1] * shape[1] + 1);
  for (int64_t b = 0; b < shape[0]; ++b) {
    const int64_t *s = shape + HEADER + b * PER_BLOCK;
    const int64_t in = s[0], kept = s[1], on = s[2], out = s[3], hidden = s[5];
    count += 9 * in * kept + kept + 9 * kept * out + out;
    if (s[6]) count += in * out + out;
    if (hidden) count += hidden * in + hidden + (kept - on) * hidden;
  }
  return count;
}

// (out, in, taps) as [block of out][in][tap][block], zeros beyond the last channel.
Floats packed_columns(const float *weights, int64_t out, int64_t in, int64_t taps, int64_t block) {
  Floats packed(rounded(out, block) * in * taps);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        *packed.at(((o / block * in + i) * taps + t) * block + o % block) =
            weights[(o * in + i) * taps + t];
  return packed;
}

// (out, in, taps) as [out][tap][in], the input channels of a pixel as many as in its map.
Floats packed_rows(const float *weights, int64_t out, int64_t in, int64_t taps, int64_t channels) {
  Floats packed(out * taps * channels);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        *packed.at((o * taps + t) * channels + i) = weights[(o * in + i) * taps + t];
  return packed;
}

Floats copied(const float *values, int64_t count, int64_t size) {
  Floats copy(size);
  std::copy(values, values + count, copy.at());
  return copy;
}

std::vector<int32_t> pixel_places(int64_t height, int64_t width, int64_t stride, int64_t pitch,
                                  int64_t offset) {
  std::vector<int32_t> places;
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      places.push_back(int32_t((y * pitch + x) * stride + offset));
  return places;
}

}  // namespace

bool Network::readable(const int64_t *shape, int64_t shape_count, int64_t weight_count) {
  if (shape_count < HEADER || shape[0] < 1 || shape_count != HEADER + shape[0] * PER_BLOCK)
    return false;
  for (int64_t i = 1; i < HEADER; ++i)
    if (shape[i] < (i == 3 || i == 4 || i == 7 ? 0 : 1)) return false;
  int64_t channels = shape[5];
  for (int64_t b = 0; b < shape[0]; ++b) {
    const int64_t *s = shape + HEADER + b * PER_BLOCK;
    if (s[0] != channels || s[1] < 0 || s[2] < 0 || s[2] > s[1] || s[3] < 1 || s[4] < 1)
      return false;
    if ((s[5] > 0) != (s[2] < s[1])) return false;
    if (!s[6] && (s[0] != s[3] || s[4] != 1)) return false;
    channels = s[3];
  }
  return weight_floats(shape) == weight_count;
}

Network::Network(const int64_t *shape, const float *weights, int threads, const Tiles *tiles)
    : tiles_(tiles), threads_(threads), steps_(int((shape[4] ? 3 : 2) + 2 * shape[0])) {
  kernel_ = shape[1], step_ = shape[2], padding_ = shape[3], pooled_ = shape[4];
  width_ = shape[5], side_ = shape[6];
  const int64_t stem_side = (side_ + 2 * padding_ - kernel_) / step_ + 1;
  const int64_t side = pooled_ ? (stem_side - 1) / 2 + 1 : stem_side;
  stem_map_ = {stem_side, stem_side, rounded(width_, 16)};
  maps_.push_back({side, side, rounded(width_, 16)});
  blocks_.resize(shape[0]);
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const int64_t *s = shape + HEADER + b * PER_BLOCK;
    Block &block = blocks_[b];
    block.in = s[0], block.kept = s[1], block.on = s[2], block.out = s[3];
    block.stride = s[4], block.hidden = s[5], block.downsample = s[6];
    block.source = int(maps_.size()) - 1;
    block.from = maps_.back();
    if (block.downsample) {
      const int64_t after = (block.from.height - 1) / block.stride + 1;
      maps_.push_back({after, after, rounded(block.out, 16)});
    }
    block.to = maps_.back();
    block.target = int(maps_.size()) - 1;
    const int64_t h = block.to.height, w = block.to.width;
    block.from_pixels = pixel_places(h, w, block.stride, block.from.pitch(), 0);
    block.to_pixels = pixel_places(h, w, 1, block.to.pitch(), block.to.pitch() + 1);
    block.inner_pixels = pixel_places(h, w, 1, block.to.pitch(), 0);
    block.source_pixels =
        pixel_places(block.from.height, block.from.width, 1, block.from.pitch(), block.from.pitch() + 1);
    block.late = 9 * block.kept * (block.in + block.out) > LATE_FLOATS ||
                 (b > 0 && blocks_[b - 1].late);
    inner_floats_ = std::max(
        inner_floats_, size_t(h + 2) * (w + 2) * (inner_channels(block.kept) + 32));
    masks_at_.push_back(decided_);
    decided_ += block.kept - block.on;
  }
  pack(weights);
  int64_t late = 0;
  slots_.assign(maps_.size(), 0);
  for (const Block &block : blocks_)
    if (block.late) slots_[block.source] = slots_[block.target] = 1;
  for (size_t m = 0; m < maps_.size(); ++m) late += slots_[m] * int64_t(maps_[m].floats());
  group_ = late ? std::clamp<int64_t>(GROUP_FLOATS / late, 1, 16) : 1;
  for (auto &slots : slots_) slots = slots ? group_ : 1;
  spaces_.resize(threads);
  for (Workspace &space : spaces_) prepare(space);
}

void Network::pack(const float *weights) {
  Reader reader{weights};
  const float *mean = reader.take(3), *deviation = reader.take(3);
  for (int c = 0; c < 3; ++c) {
    scale_[c] = 1 / deviation[c];
    shift_[c] = -mean[c] / deviation[c];
  }
  const int64_t block = tiles_->block, taps = kernel_ * kernel_;
  stem_weights_ = packed_columns(reader.take(width_ * 3 * taps), width_, 3, taps, block);
  stem_bias_ = copied(reader.take(width_), width_, rounded(width_, block));
  const int64_t pitch = side_ + 2 * padding_;
  stem_from_ = pixel_places(stem_map_.height, stem_map_.width, step_, pitch, 0);
  stem_to_ = pixel_places(stem_map_.height, stem_map_.width, 1, stem_map_.pitch(),
                          stem_map_.pitch() + 1);
  for (int64_t y = 0; y < kernel_; ++y)
    for (int64_t x = 0; x < kernel_; ++x) stem_taps_.push_back(int32_t((y * pitch + x) * 3));
  int64_t most = 3;
  for (Block &b : blocks_) {
    b.rows = packed_rows(reader.take(9 * b.in * b.kept), b.kept, b.in, 9, b.from.channels);
    b.rows_bias = copied(reader.take(b.kept), b.kept, b.kept + 1);
    b.columns = packed_columns(reader.take(9 * b.kept * b.out), b.out, b.kept, 9, block);
    b.columns_bias = copied(reader.take(b.out), b.out, rounded(b.out, block));
    if (b.downsample) {
      b.shortcut = packed_columns(reader.take(b.in * b.out), b.out, b.in, 1, block);
      b.shortcut_bias = copied(reader.take(b.out), b.out, rounded(b.out, block));
    }
    if (b.hidden) {
      b.squeeze = packed_rows(reader.take(b.hidden * b.in), b.hidden, b.in, 1, b.from.channels);
      b.squeeze_bias = copied(reader.take(b.hidden), b.hidden, b.hidden);
      const int64_t dependent = b.kept - b.on;
      b.expand = packed_rows(reader.take(dependent * b.hidden), dependent, b.hidden, 1,
                             rounded(b.hidden, 16));
    }
    most = std::max({most, b.in, b.kept});
  }
  for (int64_t i = 0; i < most; ++i) everything_.push_back(int32_t(i));
}

void Network::prepare(Workspace &space) const {
  const int64_t padded = side_ + 2 * padding_;
  space.image = Floats(padded * padded * 3);
  if (pooled_) space.stem = Floats(stem_map_.floats());
  space.maps.resize(maps_.size());
  for (size_t m = 0; m < maps_.size(); ++m)
    for (int64_t slot = 0; slot < slots_[m]; ++slot) space.maps[m].emplace_back(maps_[m].floats());
  int64_t widest = 16, hidden = 16, inner = 1;
  for (const Block &block : blocks_) {
    widest = std::max({widest, block.from.channels, block.to.channels, block.kept});
    hidden = std::max(hidden, rounded(block.hidden, 16));
    if (block.late) inner = group_;
  }
  space.inner = Floats(inner_floats_ * inner);
  space.pooled = Floats(widest);
  space.hidden = Floats(hidden);
  space.logits = Floats(widest);
  space.lists.resize(group_);
  for (auto &list : space.lists) list.reserve(widest);
}

const void *Network::image(const void *images, bool bytes, int64_t index) const {
  const int64_t floats = 3 * side_ * side_ * index;
  if (bytes) return static_cast<const uint8_t *>(images) + floats;
  return static_cast<const float *>(images) + floats;
}

#include "network.h"

#include <string.h>

#include <algorithm>

namespace {

// A block whose weights take more than this is read for many samples at a time.
constexpr int64_t LATE_FLOATS = 1 << 18;
constexpr int64_t GROUP_FLOATS = 4 << 20;

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

}  // namespace

int64_t Network::floats(const Shape &shape) {
  int64_t count = 6 + shape.width() * (3 * shape.kernel() * shape.kernel() + 1);
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    const Shape::Block s = shape.block(b);
    count += 9 * s.in * s.kept + s.kept + 9 * s.kept * s.out + s.out;
    if (s.downsample) count += s.in * s.out + s.out;
    count += Gate::floats(s.in, s.hidden, s.dependent());
  }
  return count;
}

Network::Network(const Shape &shape, const float *weights, int threads, const Tiles *tiles)
    : Layout(shape, threads, LATE_FLOATS), tiles_(tiles) {
  for (const Block &block : blocks_)
    inner_floats_ = std::max(inner_floats_, size_t(block.to.height + 2) * (block.to.width + 2) *
                                                (inner_channels(block.kept) + 32));
  pack(weights);
  group(GROUP_FLOATS, 1);
  spaces_.resize(threads);
  for (Workspace &space : spaces_) prepare(space);
}

void Network::pack(const float *weights) {
  Reader<float> reader{weights};
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
    if (b.hidden)
      b.gate = Gate(reader, b.in, b.from.channels, b.hidden, b.kept - b.on);
    most = std::max({most, b.in, b.kept});
  }
  for (int64_t i = 0; i < most; ++i) everything_.push_back(int32_t(i));
}

void Network::prepare(Workspace &space) const {
  const int64_t padded = side_ + 2 * padding_;
  space.image = Floats(padded * padded * 3);
  if (pooled_) space.stem = Floats(stem_map_.values());
  space.maps.resize(maps_.size());
  for (size_t m = 0; m < maps_.size(); ++m)
    for (int64_t slot = 0; slot < slots_[m]; ++slot) space.maps[m].emplace_back(maps_[m].values());
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

#include "network.h"

#include <string.h>

#include <algorithm>

namespace {

// A block whose weights take more than this is read for many samples at a time.
constexpr int64_t LATE_FLOATS = 1 << 18;
constexpr int64_t GROUP_FLOATS = 4 << 20;

}  // namespace

int64_t Network::floats(const Shape &shape) {
  int64_t count = 6 + shape.width() * (3 * shape.kernel() * shape.kernel() + 1);
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    const Shape::Block s = shape.block(b);
    count += s.weights() + s.kept + s.out;
    if (s.bottleneck()) count += s.kept2;
    if (s.downsample) count += s.in * s.out + s.out;
    count += Gate::floats(s.in, s.hidden, s.dependent());
    count += Gate::floats(s.in, s.hidden2, s.dependent2());
  }
  return count;
}

Network::Network(const Shape &shape, const float *weights, int threads, const Tiles *tiles)
    : Layout(shape, threads, LATE_FLOATS), tiles_(tiles) {
  for (Block &block : blocks_) {
    block.find_pixels();
    inner_floats_ = std::max(inner_floats_, size_t(block.to.height + 2) * (block.to.width + 2) *
                                                (odd_lines(block.kept) + 32));
  }
  pack(shape, weights);
  group(GROUP_FLOATS, 1);
  spaces_.resize(threads);
  for (Workspace &space : spaces_) prepare(space);
}

void Network::pack(const Shape &shape, const float *weights) {
  Reader<float> reader{weights};
  const int64_t block = tiles_->block;
  stem_ = Stem(reader, shape, stem_map_, tiles_);
  int64_t most = 1;
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
  space.image = Floats(stem_.image_floats());
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

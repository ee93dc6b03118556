// The three convolutions of a bottleneck in int8.
//
// Those of 1x1 read pixels as they lie, by row or flat. Of the 3x3 between them both inputs and
// outputs are chosen: rows of the open outputs are compressed to the open inputs, then packed.
#include "int8.h"

namespace {

// What lies between the convolutions, as the last one reads it.
Reading pointwise(int64_t channels) { return {Way::gathered, channels / 4}; }

ProductTask pointwise_task(const uint8_t *x, const int32_t *places, int64_t channels,
                           const std::vector<PixelTile> &tiles, Share some) {
  ProductTask task = {};
  task.x = x;
  task.x_pixels = task.out_pixels = places;
  task.x_step = task.x_row = channels;
  task.segments = 1;
  task.quads = channels / 4;
  task.tiles = tiles.data();
  task.first_tile = some.first, task.last_tile = some.last;
  return task;
}

}  // namespace

// Both gates look at the input of the block.
void Int8Network::open_both(size_t index, Int8Workspace &space, int slot, int count,
                            const Call &call, int64_t image) const {
  const Int8Block &block = blocks_[index];
  for (int i = 0; (block.hidden || block.hidden2) && i < count; ++i)
    pool(block, space, slot + i, space.pooled.at(i * block.from.channels));
  for (int layer = 0; layer < 2; ++layer) {
    const HalfGate &gate = block.gates[layer];
    const int64_t kept = layer ? block.kept2 : block.kept, on = layer ? block.on2 : block.on;
    const int64_t at = masks_at_[index] + (layer ? block.kept - block.on : 0);
    const bool gated = kept > on;
    gate.logits(int8_, gated ? count : 0, space.pooled.at(), space.hidden.at(), space.logits.at());
    for (int i = 0; i < count; ++i) {
      Opening &opening = this->opening(block, space, i, layer);
      opening.list.assign(everything_.begin(), everything_.begin() + on);
      const uint8_t *wanted = forced(call, image + i);
      if (gated)
        gate.add_open(space.logits.at(i * (kept - on)), on, wanted ? wanted + at : nullptr,
                      opening.list);
      uint8_t *told = masks(call, image + i);
      for (size_t c = size_t(on); told && c < opening.list.size(); ++c)
        told[at + opening.list[c] - on] = 1;
      scale(block, opening, layer);
    }
  }
  for (int i = 0; i < count; ++i) {
    Opening &before = opening(block, space, i, 0), &behind = opening(block, space, i, 1);
    before.reading = reading_of(block, before.channels, (int64_t(behind.list.size()) + 15) / 16,
                                block.stride == 1);
    behind.reading = pointwise(behind.channels);
    clear_frame(block.from, before);
  }
}

void Int8Network::scale(const Int8Block &block, Opening &opening, int layer) const {
  const auto &list = opening.list;
  const int64_t count = int64_t(list.size());
  const Floats &scale = layer ? block.middle_scale : block.rows_scale;
  const Floats &bias = layer ? block.middle_bias : block.rows_bias;
  opening.bits.assign(lines(layer ? block.kept2 : block.kept), 0);
  std::fill(opening.scale.at(count), opening.scale.at(rounded(count, PAIR_CHANNELS)), 0.f);
  std::fill(opening.bias.at(count), opening.bias.at(rounded(count, PAIR_CHANNELS)), 0.f);
  for (int64_t i = 0; i < count; ++i) {
    *opening.scale.at(i) = *scale.at(list[i]);
    *opening.bias.at(i) = *bias.at(list[i]);
    opening.bits[list[i] / LINE] |= uint64_t(1) << list[i] % LINE;
  }
  opening.channels = rounded(count, 4);
}

void Int8Network::first(const Int8Block &block, const uint8_t *map, Int8Workspace &space,
                        Int8Workspace &own, int at, Share pairs, Share tiles,
                        int64_t serial) const {
  if (pairs.first >= pairs.last || tiles.first >= tiles.last) return;
  Opening &opening = this->opening(block, space, at, 0);
  const int64_t channels = block.from.channels;
  const ProductTask task =
      pointwise_task(map, block.first_places.data(), channels, block.first_tiles, tiles);
  row_pairs({block.rows.at(), block.hidden ? nullptr : block.fixed_rows.at(), opening, nullptr},
            task, pointwise(channels), own, pairs, serial);
  if (block.first_way == Way::flat)
    clear_border(block.from, block.first_tiles, tiles, opening.inner.at(), opening.channels);
}

void Int8Network::second(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int at,
                         Share pairs, Share tiles, int64_t serial) const {
  if (pairs.first >= pairs.last || tiles.first >= tiles.last) return;
  Opening &inputs = opening(block, space, at, 0), &outputs = opening(block, space, at, 1);
  const Reading &how = inputs.reading;
  ProductTask task = reading(block, how.way, tiles, inputs.inner.at(), block.from, inputs.channels,
                             block.stride, 3);
  if (how.gathered()) gather(task, own, {serial, tiles.first, tiles.last});
  const bool fixed = !block.hidden && !block.hidden2;
  row_pairs({block.middle.at(), fixed ? block.fixed_middle.at() : nullptr, outputs, &inputs}, task,
            how, own, pairs, serial);
}

void Int8Network::third(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
                        int at, Share out_blocks, Share tiles, int64_t serial) const {
  if (out_blocks.first >= out_blocks.last || tiles.first >= tiles.last) return;
  const Opening &opening = this->opening(block, space, at, 1);
  const ProductTask task = pointwise_task(opening.inner.at(), block.last_places(), opening.channels,
                                          block.tiles[int(block.last_way)], tiles);
  column_blocks(block, task, {opening, opening.reading, 1, block.kept2, !block.hidden2}, space, own,
                slot, out_blocks, serial);
}

// One block for the images in hand: each convolution serves all of them in turn.
void Int8Network::bottleneck(size_t index, Int8Workspace &space, const Call &call, int64_t image,
                             int count, int slot) const {
  const Int8Block &block = blocks_[index];
  open_both(index, space, slot, count, call, image);
  for (int i = 0; i < count; ++i)
    first(block, narrow(space, block.source, slot + i), space, space, i,
          {0, opening(block, space, i, 0).pairs()}, {0, int64_t(block.first_tiles.size())}, -1);
  for (int i = 0; block.downsample && i < count; ++i)
    shortcut(block, space, space, slot + i, {0, block.out_blocks()});
  for (int i = 0; i < count; ++i)
    second(block, space, space, i, {0, opening(block, space, i, 1).pairs()},
           block.all(opening(block, space, i, 0).reading), -1);
  for (int i = 0; i < count; ++i)
    third(block, space, space, slot + i, i, {0, block.out_blocks()},
          block.all({block.last_way, 0}), -1);
}

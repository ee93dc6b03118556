// The two convolutions of a basic block in int8: which channels are open, and what products read.
#include <string.h>

#include "int8.h"

namespace {

// So many images in hand pay for reading the weights of closed channels.
constexpr int MANY = 4;
// Pairs that are packed together: one, or more if they stay in the L1 cache.
int64_t row_group(const Reading &how) {
  return CACHED_PAIRS / std::clamp<int64_t>(how.count(), 1, CACHED_PAIRS);
}

}  // namespace

// Whether it takes longer to pack the weights of the open channels for one image than to compute
// the closed ones too, with weights that are packed.
bool Int8Network::cheaper_whole(const Int8Block &block, int64_t open) const {
  const int64_t out = block.to.channels / 16, kept = (block.kept + 15) / 16, some = (open + 15) / 16;
  const Reading less = reading_of(block, rounded(open, 4), out, true);
  const Reading all = reading_of(block, rounded(block.kept, 4), out, true);
  const int64_t first = cost(block, block.reading);
  const int64_t apart = some * (first + block.reading.count() * PACKING_COST) +
                        out * (cost(block, less) + less.count() * PACKING_COST);
  return kept * first + out * cost(block, all) < apart;
}

// Means of the input of a block.
void Int8Network::pool(const Int8Block &block, Int8Workspace &space, int slot, float *means) const {
  const int64_t channels = block.from.channels, pixels = int64_t(block.source_pixels.size());
  int32_t *sums = space.sums.at();
  std::fill(sums, sums + channels, 0);
  int8_->sum_bytes(narrow(space, block.source, slot), block.source_pixels.data(), pixels, channels,
                   sums);
  const float scale = block.byte / float(pixels);
  for (int64_t c = 0; c < channels; ++c) means[c] = float(sums[c]) * scale;
}

// Which channels are open in slots: always on, then those whose logit is at least 0.
void Int8Network::open(size_t index, Int8Workspace &space, int slot, int count, const Call &call,
                       int64_t image) const {
  const Int8Block &block = blocks_[index];
  for (int s = 0; block.hidden && s < count; ++s)
    pool(block, space, slot + s, space.pooled.at(s * block.from.channels));
  block.gates[0].logits(int8_, block.hidden ? count : 0, space.pooled.at(), space.hidden.at(),
                        space.logits.at());
  for (int s = 0; s < count; ++s) {
    Opening &opening = this->opening(block, space, slot + s);
    opening.list.assign(everything_.begin(), everything_.begin() + block.on);
    const uint8_t *wanted = forced(call, image + s);
    block.gates[0].add_open(space.logits.at(s * (block.kept - block.on)), block.on,
                            wanted ? wanted + masks_at_[index] : nullptr, opening.list);
    uint8_t *told = masks(call, image + s);
    for (size_t i = size_t(block.on); told && i < opening.list.size(); ++i)
      told[masks_at_[index] + opening.list[i] - block.on] = 1;
    prepare(block, opening, count >= MANY);
  }
}

// Scales of the open channels, and room for what lies between the convolutions.
void Int8Network::prepare(const Int8Block &block, Opening &opening, bool many) const {
  auto &list = opening.list;
  opening.whole = !block.hidden || (many && cheaper_whole(block, int64_t(list.size())));
  const int64_t count = opening.whole ? block.kept : int64_t(list.size());
  std::fill(opening.scale.at(), opening.scale.at(rounded(count, PAIR_CHANNELS)), 0.f);
  std::fill(opening.bias.at(), opening.bias.at(rounded(count, PAIR_CHANNELS)), 0.f);
  for (size_t i = 0; i < list.size(); ++i) {
    const int64_t at = opening.whole ? list[i] : int64_t(i);
    *opening.scale.at(at) = *block.rows_scale.at(list[i]);
    *opening.bias.at(at) = *block.rows_bias.at(list[i]);
  }
  if (opening.whole) list.assign(everything_.begin(), everything_.begin() + block.kept);
  opening.channels = rounded(count, 4);
  opening.reading = reading_of(block, opening.channels, block.to.channels / 16, true);
  clear_frame(block.to, opening);
}

// Zeros around what a 3x3 convolution reads.
void Int8Network::clear_frame(const ByteMap &map, Opening &opening) const {
  const size_t row = size_t(map.pitch() * opening.channels), pixel = size_t(opening.channels);
  uint8_t *inner = opening.inner.at();
  memset(inner, 0, row + pixel);
  memset(inner + (map.height + 1) * row, 0, row + pixel);
  for (int64_t y = 2; y <= map.height; ++y) memset(inner + y * row, 0, pixel);
}

// A task that takes rows of a kernel, three or one, from a map at x.
ProductTask Int8Network::reading(const Int8Block &block, Way way, Share tiles, const uint8_t *x,
                                 const ByteMap &map, int64_t channels, int64_t stride,
                                 int64_t rows) const {
  ProductTask task = {};
  task.x = x;
  if (way == Way::flat) task.x_pixels = everything_.data();
  else task.x_pixels = (stride == 1 ? block.inner_pixels : block.from_pixels).data();
  task.x_step = channels;
  task.x_row = stride * channels;
  task.segments = rows;
  task.segment_bytes = map.pitch() * channels;
  task.quads = rows * channels / 4;
  task.tiles = block.tiles[int(way)].data();
  task.first_tile = tiles.first, task.last_tile = tiles.last;
  task.out_pixels = way == Way::flat ? block.flat_pixels.data() : block.to_pixels.data();
  return task;
}

// Copies the pixels of a task, each with all that lies under the kernel, unless that is done.
void Int8Network::gather(ProductTask &task, Int8Workspace &own, Made of) const {
  GatherTask gather = {};
  gather.x = task.x;
  gather.x_pixels = task.x_pixels;
  gather.channels = task.x_step;
  gather.rows = task.segments;
  gather.length = task.quads * 4;
  gather.x_pitch = task.segment_bytes;
  const PixelTile &back = task.tiles[task.last_tile - 1];
  gather.first_pixel = task.tiles[task.first_tile].first;
  gather.last_pixel = back.first + back.count;
  gather.out = own.gathered.at();
  gather.out_row = lines(gather.rows * gather.length) * LINE;
  if (of.serial < 0 || !(own.gathered_of == of)) int8_->gather(&gather);
  own.gathered_of = of;
  task.x = own.gathered.at();
  task.x_pixels = everything_.data();
  task.x_step = task.x_row = gather.out_row;
  task.quads *= task.segments;
  task.segments = 1;
}

// Zeros where flat tiles went over the border.
void Int8Network::clear_border(const ByteMap &place, const std::vector<PixelTile> &flat,
                               Share tiles, uint8_t *map, int64_t channels) const {
  const int64_t pitch = place.pitch(), width = place.width;
  const int64_t first = flat[tiles.first].first, last = flat[tiles.last - 1].first + flat[tiles.last - 1].count;
  for (int64_t row = first / pitch; row * pitch < last; ++row) {
    const int64_t begin = std::max(first, row * pitch + width), end = std::min(last, (row + 1) * pitch);
    if (begin < end) memset(map + (begin + pitch + 1) * channels, 0, size_t(channels));
  }
}

void Int8Network::row_pairs(const ChosenRows &chosen, ProductTask task, const Reading &how,
                            Int8Workspace &own, Share pairs, int64_t serial) const {
  Opening &outputs = chosen.outputs;
  task.finish = Finish::bytes;
  task.narrow_channels = outputs.channels;
  const int64_t bytes = how.count() * PAIR, count = int64_t(outputs.list.size());
  auto pack = [&](int64_t c, int8_t *packed) {
    const int32_t *list = outputs.list.data() + c;
    const int64_t channels = std::min<int64_t>(16, count - c);
    if (!chosen.inputs) return int8_->pack_rows(chosen.rows, how.count(), list, channels, packed);
    const Opening &inputs = *chosen.inputs;
    compress({chosen.rows, list, channels, inputs.bits.data(), int64_t(inputs.bits.size()),
              inputs.channels, how.gathered(), own.compressed.at()});
    int8_->pack_rows(own.compressed.at(), how.count(), everything_.data(), channels, packed);
  };
  for (int64_t p = pairs.first; p < pairs.last; p += row_group(how)) {
    const int64_t end = std::min(p + row_group(how), pairs.last), first = p * PAIR_CHANNELS;
    task.weights = chosen.fixed ? chosen.fixed + p * bytes : own.packed.at();
    const Made of = {serial, p, end};
    if (!chosen.fixed && (serial < 0 || !(own.packed_of == of)))
      for (int64_t c = first; c < std::min(count, end * PAIR_CHANNELS); c += 16)
        pack(c, own.packed.at((c / PAIR_CHANNELS - p) * bytes + c % PAIR_CHANNELS / 16 * LINE));
    own.packed_of = of;
    task.channels = std::min(outputs.channels, end * PAIR_CHANNELS) - first;
    task.scale = outputs.scale.at(first), task.bias = outputs.bias.at(first);
    task.narrow = outputs.inner.at(first);
    int8_->product(&task);
  }
}

void Int8Network::rows(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
                       Share pairs, Share tiles, int64_t serial) const {
  if (pairs.first >= pairs.last || tiles.first >= tiles.last) return;
  Opening &opening = this->opening(block, space, slot);
  const Reading &how = block.reading;
  ProductTask task = reading(block, how.way, tiles, narrow(space, block.source, slot), block.from,
                             block.from.channels, block.stride, 3);
  if (how.gathered()) gather(task, own, {serial, tiles.first, tiles.last});
  const ChosenRows chosen = {block.rows.at(), opening.whole ? block.fixed_rows.at() : nullptr,
                             opening, nullptr};
  row_pairs(chosen, task, how, own, pairs, serial);
  if (how.way == Way::flat)
    clear_border(block.to, block.tiles[int(Way::flat)], tiles, opening.inner.at(), opening.channels);
}

// The 1x1 convolution beside the block; its one tap is where the middle of 3x3 lies.
void Int8Network::shortcut(const Int8Block &block, Int8Workspace &space, Int8Workspace &own,
                           int slot, Share out_blocks) const {
  const int64_t channels = block.from.channels, first = out_blocks.first * COLUMN_BLOCK;
  const uint8_t *x = narrow(space, block.source, slot) + (block.from.pitch() + 1) * channels;
  const bool gathered = block.reading.gathered();
  const Way way = gathered ? Way::gathered : Way::by_row;
  ProductTask task = reading(block, way, block.all({way, 0}), x, block.from, channels, block.stride, 1);
  if (gathered) gather(task, own, {});
  task.weights = block.shortcut.at(first / PAIR_CHANNELS * lines(channels) * PAIR);
  task.channels = std::min(block.to.channels, out_blocks.last * COLUMN_BLOCK) - first;
  task.finish = Finish::shortcut;
  task.scale = block.shortcut_scale.at(first), task.bias = block.shortcut_bias.at(first);
  task.wide = wide(space, block.target, slot) + first;
  task.wide_channels = wide_channels(block.to);
  int8_->product(&task);
}

void Int8Network::column_blocks(const Int8Block &block, ProductTask task, const ChosenColumns &chosen,
                                Int8Workspace &space, Int8Workspace &own, int slot,
                                Share out_blocks, int64_t serial) const {
  const Opening &inputs = chosen.inputs;
  const Reading &how = chosen.reading;
  task.finish = Finish::block;
  task.narrow_channels = block.to.channels;
  task.wide_channels = wide_channels(block.to);
  task.factor = block.to_factor;
  const bool back = &block == &blocks_.back();
  const int64_t bytes = 2 * how.count() * PAIR, group = (row_group(how) + 1) / 2;
  for (int64_t b = out_blocks.first; b < out_blocks.last; b += group) {
    const int64_t first = b * COLUMN_BLOCK, end = std::min(b + group, out_blocks.last);
    task.weights = chosen.fixed ? block.fixed_columns.at(b * bytes) : own.packed.at();
    const Made of = {serial, b, end};
    if (!chosen.fixed && (serial < 0 || !(own.packed_of == of)))
      for (int64_t o = b; o < end; ++o) {
        const ColumnsPacking packing = {
            block.columns.at(o * chosen.kept * chosen.taps * COLUMN_BLOCK), chosen.taps,
            chosen.kept, inputs.list.data(), int64_t(inputs.list.size()), how.gathered(),
            own.packed.at((o - b) * bytes)};
        int8_->pack_columns(&packing);
      }
    own.packed_of = of;
    task.channels = std::min(block.to.channels, end * COLUMN_BLOCK) - first;
    task.scale = block.columns_scale.at(first), task.bias = block.columns_bias.at(first);
    task.narrow = back ? nullptr : narrow(space, block.target, slot) + first;
    task.wide = wide(space, block.target, slot) + first;
    int8_->product(&task);
  }
}

void Int8Network::columns(const Int8Block &block, Int8Workspace &space, Int8Workspace &own,
                          int slot, Share out_blocks, Share tiles, int64_t serial) const {
  if (out_blocks.first >= out_blocks.last || tiles.first >= tiles.last) return;
  const Opening &opening = this->opening(block, space, slot);
  const Reading &how = opening.reading;
  ProductTask task = reading(block, how.way, tiles, opening.inner.at(), block.to, opening.channels, 1, 3);
  if (how.gathered()) gather(task, own, {serial, tiles.first, tiles.last});
  column_blocks(block, task, {opening, how, 9, block.kept, opening.whole}, space, own, slot,
                out_blocks, serial);
  if (how.way == Way::flat && &block != &blocks_.back())
    clear_border(block.to, block.tiles[int(Way::flat)], tiles, narrow(space, block.target, slot),
                 block.to.channels);
}

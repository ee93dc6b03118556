// The forward pass in int8: many images on each thread, or one image on all threads.
#include <math.h>
#include <string.h>

#include "int8.h"

namespace {

// Weights of a part of a convolution that should stay in the L2 cache while images take turns.
constexpr int64_t PART_BYTES = 1 << 20;
// Channel tiles of conv1 that are packed together.
constexpr int64_t ROW_GROUP = 2;

int64_t parts_of(int64_t bytes) { return std::max<int64_t>(1, (bytes + PART_BYTES / 2) / PART_BYTES); }

}  // namespace

// Pixels as bytes, rows that a product takes together side by side; the border stays as it is.
void Int8Network::normalise(Int8Workspace &space, Int8Workspace &own, const void *image, bool bytes,
                            int part, int parts) const {
  const int64_t pitch = side_ + 2 * padding_, plane = side_ * side_;
  const Share rows = share(side_, part, parts);
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const uint8_t *planes[3];
    for (int64_t c = 0; c < 3; ++c) {
      const int64_t start = c * plane + y * side_;
      planes[c] = static_cast<const uint8_t *>(image) + start;
      if (bytes) continue;
      uint8_t *line = own.line.at(c * (side_ + 16));
      int8_->round(static_cast<const float *>(image) + start, side_, line);
      planes[c] = line;
    }
    for (int64_t r = 0; r < stack_ && r <= y + padding_; ++r)
      int8_->stack(planes, side_, stack_,
                   space.image.at(((y + padding_ - r) * pitch + padding_) * stack_ + r));
  }
}

void Int8Network::convolve_stem(Int8Workspace &space, int slot, int part, int parts) const {
  const Share tiles = share(int64_t(stem_tiles_.size()), part, parts);
  const int64_t pitch = side_ + 2 * padding_;
  ProductTask task = {};
  task.x = reinterpret_cast<const uint8_t *>(space.image.at());
  task.x_pixels = stem_from_.data();
  task.x_step = 4 * stack_;
  task.x_row = step_ * 4 * stack_;
  task.segments = (kernel_ + stack_ - 1) / stack_;
  task.segment_bytes = stack_ * pitch * 4 * stack_;
  task.quads = kernel_ * stack_;
  task.weights = stem_.at();
  task.tiles = stem_tiles_.data();
  task.first_tile = tiles.first, task.last_tile = tiles.last;
  task.channel_tiles = stem_map_.channels / 16;
  task.channels = stem_map_.channels;
  task.finish = pooled_ ? Finish::pooled : Finish::stem;
  task.scale = stem_scale_.at(), task.bias = stem_bias_.at();
  task.out_pixels = stem_to_.data();
  task.out_channels = stem_map_.channels;
  task.narrow = pooled_ ? space.stem.at() : narrow(space, 0, slot);
  task.wide = pooled_ ? nullptr : wide(space, 0, slot);
  task.inverse = stem_inverse_;
  int8_->product(&task);
}

// The border of zeros does no harm behind a ReLU.
void Int8Network::pool_stem(Int8Workspace &space, int slot, int part, int parts) const {
  const Map &to = maps_[0];
  const int64_t pitch = stem_map_.pitch() * to.channels;
  const Share rows = share(to.height, part, parts);
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const int64_t at = ((y + 1) * to.pitch() + 1) * to.channels;
    int8_->pool_row(space.stem.at(2 * y * pitch), pitch, to.channels, to.width, blocks_[0].byte,
                    narrow(space, 0, slot) + at, wide(space, 0, slot) + at);
  }
}

// Which channels are open: always on, then those whose logit is at least 0.
void Int8Network::open(size_t index, Int8Workspace &space, int slot, const Call &call,
                       int64_t image) const {
  const Int8Block &block = blocks_[index];
  Opening &opening = this->opening(block, space, slot);
  auto &list = opening.list;
  list.assign(everything_.begin(), everything_.begin() + block.on);
  if (block.hidden) {
    const int64_t channels = block.from.channels, pixels = int64_t(block.source_pixels.size());
    int32_t *sums = space.sums.at();
    std::fill(sums, sums + channels, 0);
    int8_->sum_bytes(narrow(space, block.source, slot), block.source_pixels.data(), pixels,
                     channels, sums);
    const float scale = block.byte / float(pixels);
    for (int64_t c = 0; c < channels; ++c) *space.pooled.at(c) = float(sums[c]) * scale;
    const uint8_t *wanted = forced(call, image);
    block.gate.decide(tiles_, space.pooled.at(), space.hidden.at(), space.logits.at(), block.on,
                      wanted ? wanted + masks_at_[index] : nullptr, list);
    uint8_t *told = masks(call, image);
    for (size_t i = size_t(block.on); told && i < list.size(); ++i)
      told[masks_at_[index] + list[i] - block.on] = 1;
  }
  const int64_t count = int64_t(list.size());
  for (int64_t i = 0; i < rounded(count, 16); ++i) {
    *opening.scale.at(i) = i < count ? *block.rows_scale.at(list[i]) : 0;
    *opening.bias.at(i) = i < count ? *block.rows_bias.at(list[i]) : 0;
  }
  opening.channels = rounded(count, 4);
  opening.reading = reading_of(block, opening.channels, block.to.channels / 16);
  const size_t row = size_t(block.to.pitch() * opening.channels), pixel = size_t(opening.channels);
  uint8_t *inner = opening.inner.at();
  memset(inner, 0, row);
  for (int64_t y = 1; y <= block.to.height; ++y) {
    memset(inner + y * row, 0, pixel);
    memset(inner + (y + 1) * row - pixel, 0, pixel);
  }
  memset(inner + (block.to.height + 1) * row, 0, row);
}

// Completes a task whose x, x_pixels, x_step (bytes a pixel), x_row and segment_bytes (bytes from
// row to row of the map) say how it lies in a map: copies what has to be gathered.
void Int8Network::read(ProductTask &task, const Int8Block &block, Int8Workspace &own,
                       Made of) const {
  const bool single = task.segments == 1;
  if (task.tiles != block.even_tiles.data()) return;
  GatherTask gather = {};
  gather.x = task.x;
  gather.x_pixels = task.x_pixels;
  gather.channels = task.x_step;
  gather.rows = single ? 1 : 3;
  gather.length = (single ? 1 : 3) * task.x_step;
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
  task.segments = 1;
}

void Int8Network::rows(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
                       Share channel_tiles, Share tiles, int64_t serial) const {
  if (channel_tiles.first >= channel_tiles.last || tiles.first >= tiles.last) return;
  const Opening &opening = this->opening(block, space, slot);
  const Reading &how = block.reading;
  ProductTask task = {};
  task.x = narrow(space, block.source, slot);
  task.x_pixels = block.from_pixels.data();
  task.x_step = block.from.channels;
  task.x_row = block.stride * block.from.channels;
  task.segments = 3;
  task.segment_bytes = block.from.pitch() * block.from.channels;
  task.quads = how.quads;
  task.tiles = block.tiles(how).data();
  task.first_tile = tiles.first, task.last_tile = tiles.last;
  read(task, block, own, {serial, tiles.first, tiles.last});
  task.finish = Finish::inner;
  task.out_pixels = block.to_pixels.data();
  task.out_channels = opening.channels;
  const int64_t bytes = how.count() * TILE, count = int64_t(opening.list.size());
  for (int64_t c = channel_tiles.first; c < channel_tiles.last; c += ROW_GROUP) {
    const int64_t end = std::min(c + ROW_GROUP, channel_tiles.last);
    task.weights = block.hidden ? own.packed.at() : block.fixed_rows.at(c * bytes);
    const Made of = {serial, c, end};
    if (block.hidden && (serial < 0 || !(own.packed_of == of)))
      for (int64_t i = c; i < end; ++i)
        int8_->pack_rows(block.rows.at(), how.count(), opening.list.data() + 16 * i,
                         std::min<int64_t>(16, count - 16 * i), own.packed.at((i - c) * bytes));
    own.packed_of = of;
    task.channel_tiles = end - c;
    task.channels = opening.channels - 16 * c;
    task.scale = opening.scale.at(16 * c), task.bias = opening.bias.at(16 * c);
    task.narrow = const_cast<uint8_t *>(opening.inner.at(16 * c));
    int8_->product(&task);
  }
}

// The 1x1 convolution beside the block; its one tap is where the middle of 3x3 lies.
void Int8Network::shortcut(const Int8Block &block, Int8Workspace &space, Int8Workspace &own,
                           int slot, Share out_blocks, Share tiles) const {
  const int64_t channels = block.from.channels, first = out_blocks.first * COLUMN_BLOCK;
  ProductTask task = {};
  task.x = narrow(space, block.source, slot) + (block.from.pitch() + 1) * channels;
  task.x_pixels = block.from_pixels.data();
  task.x_step = channels;
  task.x_row = block.stride * channels;
  task.segments = 1;
  task.quads = channels / 4;
  task.tiles = block.tiles(opening(block, space, slot).reading).data();
  task.first_tile = tiles.first, task.last_tile = tiles.last;
  read(task, block, own, {});
  task.weights = block.shortcut.at(first / 16 * lines(channels) * TILE);
  task.channels = std::min(block.to.channels, out_blocks.last * COLUMN_BLOCK) - first;
  task.channel_tiles = task.channels / 16;
  task.finish = Finish::shortcut;
  task.scale = block.shortcut_scale.at(first), task.bias = block.shortcut_bias.at(first);
  task.out_pixels = block.to_pixels.data();
  task.out_channels = block.to.channels;
  task.wide = wide(space, block.target, slot) + first;
  int8_->product(&task);
}

void Int8Network::columns(const Int8Block &block, Int8Workspace &space, Int8Workspace &own,
                          int slot, Share out_blocks, Share tiles, int64_t serial) const {
  if (out_blocks.first >= out_blocks.last || tiles.first >= tiles.last) return;
  if (block.downsample) shortcut(block, space, own, slot, out_blocks, tiles);
  const Opening &opening = this->opening(block, space, slot);
  const Reading &how = opening.reading;
  ProductTask task = {};
  task.x = opening.inner.at();
  task.x_pixels = block.inner_pixels.data();
  task.x_step = task.x_row = opening.channels;
  task.segments = 3;
  task.segment_bytes = block.to.pitch() * opening.channels;
  task.quads = how.quads;
  task.tiles = block.tiles(how).data();
  task.first_tile = tiles.first, task.last_tile = tiles.last;
  read(task, block, own, {serial, tiles.first, tiles.last});
  task.finish = Finish::block;
  task.out_pixels = block.to_pixels.data();
  task.out_channels = block.to.channels;
  task.inverse = block.inverse;
  const bool back = &block == &blocks_.back();
  for (int64_t b = out_blocks.first; b < out_blocks.last; ++b) {
    const int64_t first = b * COLUMN_BLOCK, bytes = 4 * how.count() * TILE;
    task.weights = block.hidden ? own.packed.at() : block.fixed_columns.at(b * bytes);
    const Made of = {serial, b, b};
    if (block.hidden && (serial < 0 || !(own.packed_of == of))) {
      const ColumnsPacking packing = {block.columns.at(b * block.kept * 9 * COLUMN_BLOCK),
                                      opening.list.data(), int64_t(opening.list.size()),
                                      how.gathered, own.packed.at()};
      int8_->pack_columns(&packing);
    }
    own.packed_of = of;
    task.channels = std::min(block.to.channels - first, COLUMN_BLOCK);
    task.channel_tiles = task.channels / 16;
    task.scale = block.columns_scale.at(first), task.bias = block.columns_bias.at(first);
    task.narrow = back ? nullptr : narrow(space, block.target, slot) + first;
    task.wide = wide(space, block.target, slot) + first;
    int8_->product(&task);
  }
}

void Int8Network::early(const Int8Block &block, Int8Workspace &space, int slot) const {
  const Opening &opening = this->opening(block, space, slot);
  rows(block, space, space, slot, {0, opening.channel_tiles()},
       {0, int64_t(block.tiles(block.reading).size())}, -1);
  columns(block, space, space, slot, {0, block.out_blocks()},
          {0, int64_t(block.tiles(opening.reading).size())}, -1);
}

// One late block for the images in hand: each part of the weights serves all of them in turn.
void Int8Network::late(size_t index, Int8Workspace &space, const Call &call, int64_t first,
                       int64_t last) const {
  const Int8Block &block = blocks_[index];
  const int count = int(last - first);
  for (int s = 0; s < count; ++s) open(index, space, s, call, first + s);
  const int64_t row_parts = parts_of(block.kept * block.reading.count() * LINE);
  for (int64_t part = 0; part < row_parts; ++part)
    for (int s = 0; s < count; ++s) {
      const Share mine = share(space.openings[s].channel_tiles(), part, row_parts);
      rows(block, space, space, s, mine, {0, int64_t(block.tiles(block.reading).size())}, -1);
    }
  const int64_t column_parts = std::min(block.out_blocks(), parts_of(9 * block.kept * block.out));
  for (int64_t part = 0; part < column_parts; ++part)
    for (int s = 0; s < count; ++s) {
      const Share mine = share(block.out_blocks(), part, column_parts);
      columns(block, space, space, s, mine,
              {0, int64_t(block.tiles(space.openings[s].reading).size())}, -1);
    }
}

void Int8Network::features(Int8Workspace &space, int slot, const Call &call,
                           int64_t image) const {
  const Int8Block &back = blocks_.back();
  float *means = space.pooled.at();
  std::fill(means, means + back.to.channels, 0.f);
  int8_->sum_halves(wide(space, back.target, slot), back.to_pixels.data(), back.pixels(),
                    back.to.channels, means);
  float *out = call.features + image * out_;
  for (int64_t c = 0; c < out_; ++c) out[c] = means[c] / float(back.pixels());
  if (call.bytes) return;
  // Bytes cannot say that a value is not a number.
  const float *values = static_cast<const float *>(this->image(call, image));
  float wrong = 0;
  for (int64_t i = 0; i < 3 * side_ * side_; ++i) wrong += values[i] * 0;
  if (wrong != wrong) std::fill(out, out + out_, wrong);
}

void Int8Network::samples(int thread, const Call &call, int64_t first, int64_t last) {
  Int8Workspace &space = spaces_[thread];
  size_t early_blocks = 0;
  while (early_blocks < blocks_.size() && !blocks_[early_blocks].late) ++early_blocks;
  for (int64_t s = first; s < last; ++s) {
    const int slot = int(s - first);
    normalise(space, space, image(call, s), call.bytes, 0, 1);
    convolve_stem(space, slot, 0, 1);
    if (pooled_) pool_stem(space, slot, 0, 1);
    for (size_t b = 0; b < early_blocks; ++b) {
      open(b, space, slot, call, s);
      early(blocks_[b], space, slot);
    }
  }
  for (size_t b = early_blocks; b < blocks_.size(); ++b) late(b, space, call, first, last);
  for (int64_t s = first; s < last; ++s) features(space, int(s - first), call, s);
}

Int8Network::Split Int8Network::split(const Int8Block &block, const Opening &opening,
                                      bool second) const {
  const int64_t channel_tiles = opening.channel_tiles(), wanted = 2 * threads();
  const int64_t group = channel_tiles >= ROW_GROUP * wanted ? ROW_GROUP : 1;
  const int64_t groups = second ? block.out_blocks() : (channel_tiles + group - 1) / group;
  const int64_t tiles = int64_t(block.tiles(second ? opening.reading : block.reading).size());
  const int64_t parts = groups ? (wanted + groups - 1) / groups : 1;
  return {groups, std::clamp<int64_t>(parts, 1, std::max<int64_t>(1, tiles / 4)), group};
}

// One image on all threads, in steps: pixels, stem, perhaps pooling, then for each block conv1
// and conv2.
int Int8Network::prepare_step(int step, const Call &call, int64_t index) {
  const int first = pooled_ ? 3 : 2;
  ++serial_;
  if (step < first) return 2 * threads();
  const size_t b = size_t(step - first) / 2;
  const bool second = (step - first) % 2 == 1;
  if (!second) open(b, spaces_[0], 0, call, index);
  const Split parts = split(blocks_[b], opening(blocks_[b], spaces_[0], 0), second);
  return std::max(1, int(parts.groups * parts.parts));
}

void Int8Network::do_item(int thread, int step, int item, int items, const Call &call,
                          int64_t index) {
  const int first = pooled_ ? 3 : 2;
  Int8Workspace &space = spaces_[0], &own = spaces_[thread];
  if (step == 0) return normalise(space, own, image(call, index), call.bytes, item, items);
  if (step == 1) return convolve_stem(space, 0, item, items);
  if (step < first) return pool_stem(space, 0, item, items);
  const Int8Block &block = blocks_[size_t(step - first) / 2];
  const Opening &opening = this->opening(block, space, 0);
  const bool second = (step - first) % 2 == 1;
  const Split parts = split(block, opening, second);
  const int64_t group = item / parts.parts;
  const int64_t tiles = int64_t(block.tiles(second ? opening.reading : block.reading).size());
  const Share mine = share(tiles, item % parts.parts, parts.parts);
  if (second) return columns(block, space, own, 0, {group, group + 1}, mine, serial_);
  const int64_t begin = group * parts.group;
  rows(block, space, own, 0, {begin, std::min(begin + parts.group, opening.channel_tiles())}, mine,
       serial_);
}

void Int8Network::finish(const Call &call, int64_t index) { features(spaces_[0], 0, call, index); }

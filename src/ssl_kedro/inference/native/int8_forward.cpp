// The forward pass in int8: many images on each thread, or one image on all threads.
#include <math.h>
#include <string.h>

#include "int8.h"

namespace {

// Weights of a part of a convolution that should stay in the L2 cache while images take turns.
constexpr int64_t PART_BYTES = 1 << 19;
// So many images in hand pay for reading the weights of closed channels.
constexpr int MANY = 4;
// Pairs of conv1 that are packed together: one, or more if they stay in the L1 cache.
int64_t row_group(const Reading &how) { return std::max<int64_t>(1, CACHED_PAIRS / how.count()); }

// Bytes cannot say that a value of an image is not a number.
bool finite(const float *values, int64_t count) {
  constexpr uint32_t EXPONENT = 0x7f800000;
  uint32_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, values + i, sizeof bits);
    wrong |= (bits & EXPONENT) == EXPONENT;
  }
  return !wrong;
}

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
  task.channels = stem_map_.channels;
  task.finish = pooled_ ? Finish::bytes : Finish::stem;
  task.scale = stem_scale_.at(), task.bias = stem_bias_.at();
  task.out_pixels = stem_to_.data();
  task.narrow = pooled_ ? space.stem.at() : narrow(space, 0, slot);
  task.narrow_channels = stem_map_.channels;
  task.wide = wide(space, 0, slot);
  task.wide_channels = wide_channels(maps_[0]);
  task.factor = blocks_[0].from_factor;
  int8_->product(&task);
}

// The border of zeros does no harm behind a ReLU.
void Int8Network::pool_stem(Int8Workspace &space, int slot, int part, int parts) const {
  const ByteMap &to = maps_[0];
  const int64_t pitch = stem_map_.pitch() * to.channels;
  const Share rows = share(to.height, part, parts);
  for (int64_t y = rows.first; y < rows.last; ++y) {
    const int64_t at = (y + 1) * to.pitch() + 1, words = wide_channels(to);
    int8_->pool_row(space.stem.at(2 * y * pitch), pitch, to.channels, to.width,
                    32768.f / blocks_[0].from_factor, narrow(space, 0, slot) + at * to.channels,
                    wide(space, 0, slot) + at * words, words);
  }
}

// Whether it takes longer to pack the weights of the open channels for one image than to compute
// the closed ones too, with weights that are packed.
bool Int8Network::cheaper_whole(const Int8Block &block, int64_t open) const {
  const int64_t out = block.to.channels / 16, kept = (block.kept + 15) / 16, some = (open + 15) / 16;
  const Reading less = reading_of(block, rounded(open, 4), out, true);
  const Reading all = reading_of(block, rounded(block.kept, 4), out, true);
  const int64_t rows = block.reading.count(), first = block.all(block.reading).last * PRODUCT_COST;
  const int64_t apart = rows * some * (first + PACKING_COST) +
                        less.count() * out * (block.all(less).last * PRODUCT_COST + PACKING_COST);
  return rows * kept * first + all.count() * out * block.all(all).last * PRODUCT_COST < apart;
}

// Which channels are open in slots: always on, then those whose logit is at least 0.
void Int8Network::open(size_t index, Int8Workspace &space, int slot, int count, const Call &call,
                       int64_t image) const {
  const Int8Block &block = blocks_[index];
  const int64_t channels = block.from.channels, pixels = int64_t(block.source_pixels.size());
  for (int s = 0; block.hidden && s < count; ++s) {
    int32_t *sums = space.sums.at();
    std::fill(sums, sums + channels, 0);
    int8_->sum_bytes(narrow(space, block.source, slot + s), block.source_pixels.data(), pixels,
                     channels, sums);
    const float scale = block.byte / float(pixels);
    for (int64_t c = 0; c < channels; ++c)
      *space.pooled.at(s * channels + c) = float(sums[c]) * scale;
  }
  block.gate.logits(tiles_, block.hidden ? count : 0, space.pooled.at(), space.hidden.at(),
                    space.logits.at());
  for (int s = 0; s < count; ++s) {
    Opening &opening = this->opening(block, space, slot + s);
    opening.list.assign(everything_.begin(), everything_.begin() + block.on);
    const uint8_t *wanted = forced(call, image + s);
    block.gate.add_open(space.logits.at(s * (block.kept - block.on)), block.on,
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
  const size_t row = size_t(block.to.pitch() * opening.channels), pixel = size_t(opening.channels);
  uint8_t *inner = opening.inner.at();
  memset(inner, 0, row + pixel);
  memset(inner + (block.to.height + 1) * row, 0, row + pixel);
  for (int64_t y = 2; y <= block.to.height; ++y) memset(inner + y * row, 0, pixel);
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
void Int8Network::clear_border(const Int8Block &block, Share tiles, uint8_t *map,
                               int64_t channels) const {
  const auto &flat = block.tiles[int(Way::flat)];
  const int64_t pitch = block.to.pitch(), width = block.to.width;
  const int64_t first = flat[tiles.first].first, last = flat[tiles.last - 1].first + flat[tiles.last - 1].count;
  for (int64_t row = first / pitch; row * pitch < last; ++row) {
    const int64_t begin = std::max(first, row * pitch + width), end = std::min(last, (row + 1) * pitch);
    if (begin < end) memset(map + (begin + pitch + 1) * channels, 0, size_t(channels));
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
  task.finish = Finish::bytes;
  task.narrow_channels = opening.channels;
  const int64_t bytes = how.count() * PAIR, count = int64_t(opening.list.size());
  for (int64_t p = pairs.first; p < pairs.last; p += row_group(how)) {
    const int64_t end = std::min(p + row_group(how), pairs.last), first = p * PAIR_CHANNELS;
    task.weights = opening.whole ? block.fixed_rows.at(p * bytes) : own.packed.at();
    const Made of = {serial, p, end};
    if (!opening.whole && (serial < 0 || !(own.packed_of == of)))
      for (int64_t c = first; c < std::min(count, end * PAIR_CHANNELS); c += 16)
        int8_->pack_rows(block.rows.at(), how.count(), opening.list.data() + c,
                         std::min<int64_t>(16, count - c),
                         own.packed.at((c / PAIR_CHANNELS - p) * bytes + c % PAIR_CHANNELS / 16 * LINE));
    own.packed_of = of;
    task.channels = std::min(opening.channels, end * PAIR_CHANNELS) - first;
    task.scale = opening.scale.at(first), task.bias = opening.bias.at(first);
    task.narrow = opening.inner.at(first);
    int8_->product(&task);
  }
  if (how.way == Way::flat) clear_border(block, tiles, opening.inner.at(), opening.channels);
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

void Int8Network::columns(const Int8Block &block, Int8Workspace &space, Int8Workspace &own,
                          int slot, Share out_blocks, Share tiles, int64_t serial) const {
  if (out_blocks.first >= out_blocks.last || tiles.first >= tiles.last) return;
  const Opening &opening = this->opening(block, space, slot);
  const Reading &how = opening.reading;
  ProductTask task = reading(block, how.way, tiles, opening.inner.at(), block.to, opening.channels, 1, 3);
  if (how.gathered()) gather(task, own, {serial, tiles.first, tiles.last});
  task.finish = Finish::block;
  task.narrow_channels = block.to.channels;
  task.wide_channels = wide_channels(block.to);
  task.factor = block.to_factor;
  const bool back = &block == &blocks_.back();
  for (int64_t b = out_blocks.first; b < out_blocks.last; ++b) {
    const int64_t first = b * COLUMN_BLOCK, bytes = 2 * how.count() * PAIR;
    task.weights = opening.whole ? block.fixed_columns.at(b * bytes) : own.packed.at();
    const Made of = {serial, b, b};
    if (!opening.whole && (serial < 0 || !(own.packed_of == of))) {
      const ColumnsPacking packing = {
          block.columns.at(b * block.kept * 9 * COLUMN_BLOCK), block.kept, opening.list.data(),
          int64_t(opening.list.size()), how.gathered(), own.packed.at()};
      int8_->pack_columns(&packing);
    }
    own.packed_of = of;
    task.channels = std::min(block.to.channels - first, COLUMN_BLOCK);
    task.scale = block.columns_scale.at(first), task.bias = block.columns_bias.at(first);
    task.narrow = back ? nullptr : narrow(space, block.target, slot) + first;
    task.wide = wide(space, block.target, slot) + first;
    int8_->product(&task);
  }
  if (how.way == Way::flat && !back)
    clear_border(block, tiles, narrow(space, block.target, slot), block.to.channels);
}

void Int8Network::early(const Int8Block &block, Int8Workspace &space, int slot) const {
  const Opening &opening = this->opening(block, space, slot);
  if (block.downsample) shortcut(block, space, space, slot, {0, block.out_blocks()});
  rows(block, space, space, slot, {0, opening.pairs()},
       block.all(block.reading), -1);
  columns(block, space, space, slot, {0, block.out_blocks()},
          block.all(opening.reading), -1);
}

// One late block for the images in hand: each part of the weights serves all of them in turn.
void Int8Network::late(size_t index, Int8Workspace &space, const Call &call, int64_t first,
                       int64_t last) const {
  const Int8Block &block = blocks_[index];
  const int count = int(last - first);
  open(index, space, 0, count, call, first);
  const int64_t row_parts = parts_of(block.kept * block.reading.count() * LINE);
  for (int64_t part = 0; part < row_parts; ++part)
    for (int s = 0; s < count; ++s) {
      const Share mine = share(space.openings[s].pairs(), part, row_parts);
      rows(block, space, space, s, mine, block.all(block.reading), -1);
    }
  for (int s = 0; block.downsample && s < count; ++s)
    shortcut(block, space, space, s, {0, block.out_blocks()});
  const int64_t column_parts = std::min(block.out_blocks(), parts_of(9 * block.kept * block.out));
  for (int64_t part = 0; part < column_parts; ++part)
    for (int s = 0; s < count; ++s) {
      const Share mine = share(block.out_blocks(), part, column_parts);
      columns(block, space, space, s, mine,
              block.all(space.openings[s].reading), -1);
    }
}

void Int8Network::features(Int8Workspace &space, int slot, const Call &call,
                           int64_t image) const {
  const Int8Block &back = blocks_.back();
  const int64_t channels = wide_channels(back.to);
  int32_t *sums = space.sums.at();
  std::fill(sums, sums + channels, 0);
  int8_->sum_words(wide(space, back.target, slot), back.to_pixels.data(), back.pixels(), channels,
                   sums);
  float *out = call.features + image * out_;
  for (int64_t i = 0; i < channels; ++i) {
    const int64_t c = i / PAIR_CHANNELS * PAIR_CHANNELS + word_at(i % PAIR_CHANNELS);
    if (c < out_) out[c] = float(sums[i]) * (back.word / float(back.pixels()));
  }
  if (call.bytes) return;
  if (!finite(static_cast<const float *>(this->image(call, image)), 3 * side_ * side_))
    std::fill(out, out + out_, NAN);
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
      open(b, space, slot, 1, call, s);
      early(blocks_[b], space, slot);
    }
  }
  for (size_t b = early_blocks; b < blocks_.size(); ++b) late(b, space, call, first, last);
  for (int64_t s = first; s < last; ++s) features(space, int(s - first), call, s);
}

Int8Network::Split Int8Network::split(const Int8Block &block, const Opening &opening,
                                      bool second) const {
  const int64_t wanted = 2 * threads(), groups = second ? block.out_blocks() : opening.pairs();
  const int64_t tiles = block.all(second ? opening.reading : block.reading).last;
  const int64_t parts = groups ? (wanted + groups - 1) / groups : 1;
  return {groups, std::clamp<int64_t>(parts, 1, std::max<int64_t>(1, tiles / 4))};
}

// One image on all threads, in steps: pixels, stem, perhaps pooling, then for each block conv1
// with the shortcut, and conv2.
int Int8Network::prepare_step(int step, const Call &call, int64_t index) {
  const int first = pooled_ ? 3 : 2;
  ++serial_;
  if (step < first) return 2 * threads();
  const size_t b = size_t(step - first) / 2;
  const bool second = (step - first) % 2 == 1;
  if (!second) open(b, spaces_[0], 0, 1, call, index);
  const Split parts = split(blocks_[b], opening(blocks_[b], spaces_[0], 0), second);
  const int64_t beside = second || !blocks_[b].downsample ? 0 : blocks_[b].out_blocks();
  return std::max(1, int(parts.groups * parts.parts + beside));
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
  const int64_t group = item / parts.parts, beside = item - parts.groups * parts.parts;
  // What comes beside the rows writes the output map, which they do not.
  if (!second && block.downsample && beside >= 0)
    return shortcut(block, space, own, 0, {beside, beside + 1});
  const int64_t tiles = block.all(second ? opening.reading : block.reading).last;
  const Share mine = share(tiles, item % parts.parts, parts.parts);
  if (second) return columns(block, space, own, 0, {group, group + 1}, mine, serial_);
  rows(block, space, own, 0, {group, std::min(group + 1, opening.pairs())}, mine, serial_);
}

void Int8Network::finish(const Call &call, int64_t index) { features(spaces_[0], 0, call, index); }

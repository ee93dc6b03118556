// The forward pass in int8: many images on each thread, or one image on all threads.
#include <math.h>
#include <string.h>

#include "int8.h"

namespace {

// Weights of a part of a convolution that should stay in the L2 cache while images take turns.
constexpr int64_t PART_BYTES = 1 << 19;
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
      const Share mine = share(space.openings[0][s].pairs(), part, row_parts);
      rows(block, space, space, s, mine, block.all(block.reading), -1);
    }
  for (int s = 0; block.downsample && s < count; ++s)
    shortcut(block, space, space, s, {0, block.out_blocks()});
  const int64_t column_parts = std::min(block.out_blocks(), parts_of(9 * block.kept * block.out));
  for (int64_t part = 0; part < column_parts; ++part)
    for (int s = 0; s < count; ++s) {
      const Share mine = share(block.out_blocks(), part, column_parts);
      columns(block, space, space, s, mine,
              block.all(space.openings[0][s].reading), -1);
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
      if (blocks_[b].bottleneck()) {
        bottleneck(b, space, call, s, 1, slot);
        continue;
      }
      open(b, space, slot, 1, call, s);
      early(blocks_[b], space, slot);
    }
  }
  for (size_t b = early_blocks; b < blocks_.size(); ++b) {
    if (blocks_[b].bottleneck()) bottleneck(b, space, call, first, int(last - first), 0);
    else late(b, space, call, first, last);
  }
  for (int64_t s = first; s < last; ++s) features(space, int(s - first), call, s);
}

int64_t Int8Network::tiles_of(const Int8Block &block, Int8Workspace &space, int convolution) const {
  if (block.bottleneck() && convolution == 0) return int64_t(block.first_tiles.size());
  if (convolution == 0) return block.all(block.reading).last;
  if (convolution == 2) return block.all({block.last_way, 0}).last;
  return block.all(opening(block, space, 0).reading).last;
}

Int8Network::Split Int8Network::split(const Int8Block &block, Int8Workspace &space,
                                      int convolution) const {
  const bool back = convolution + 1 == convolutions();
  const int64_t wanted = 2 * threads();
  const int64_t groups = back ? block.out_blocks() : opening(block, space, 0, convolution).pairs();
  const int64_t tiles = tiles_of(block, space, convolution);
  const int64_t parts = groups ? (wanted + groups - 1) / groups : 1;
  return {groups, std::clamp<int64_t>(parts, 1, std::max<int64_t>(1, tiles / 4))};
}

// One image on all threads, in steps: pixels, stem, perhaps pooling, then for each block its
// convolutions, the first with the shortcut.
int Int8Network::prepare_step(int step, const Call &call, int64_t index) {
  const int start = pooled_ ? 3 : 2;
  ++serial_;
  if (step < start) return 2 * threads();
  const size_t b = size_t(step - start) / convolutions();
  const int convolution = (step - start) % convolutions();
  const Int8Block &block = blocks_[b];
  if (convolution == 0 && block.bottleneck()) open_both(b, spaces_[0], 0, 1, call, index);
  else if (convolution == 0) open(b, spaces_[0], 0, 1, call, index);
  const Split parts = split(block, spaces_[0], convolution);
  const int64_t beside = convolution || !block.downsample ? 0 : block.out_blocks();
  return std::max(1, int(parts.groups * parts.parts + beside));
}

void Int8Network::do_item(int thread, int step, int item, int items, const Call &call,
                          int64_t index) {
  const int start = pooled_ ? 3 : 2;
  Int8Workspace &space = spaces_[0], &own = spaces_[thread];
  if (step == 0) return normalise(space, own, image(call, index), call.bytes, item, items);
  if (step == 1) return convolve_stem(space, 0, item, items);
  if (step < start) return pool_stem(space, 0, item, items);
  const Int8Block &block = blocks_[size_t(step - start) / convolutions()];
  const int convolution = (step - start) % convolutions();
  const bool back = convolution + 1 == convolutions();
  const Split parts = split(block, space, convolution);
  const int64_t group = item / parts.parts, beside = item - parts.groups * parts.parts;
  // What comes beside the first writes the output map, which that does not.
  if (!convolution && block.downsample && beside >= 0)
    return shortcut(block, space, own, 0, {beside, beside + 1});
  const Share tiles = share(tiles_of(block, space, convolution), item % parts.parts, parts.parts);
  const Share mine = {group, std::min(group + 1, parts.groups)};
  if (!block.bottleneck())
    return back ? columns(block, space, own, 0, mine, tiles, serial_)
                : rows(block, space, own, 0, mine, tiles, serial_);
  if (convolution == 0) first(block, narrow(space, block.source, 0), space, own, 0, mine, tiles, serial_);
  if (convolution == 1) second(block, space, own, 0, mine, tiles, serial_);
  if (convolution == 2) third(block, space, own, 0, 0, mine, tiles, serial_);
}

void Int8Network::finish(const Call &call, int64_t index) { features(spaces_[0], 0, call, index); }

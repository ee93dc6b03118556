// The forward pass: many samples on each thread, or one sample on all threads.
#include <string.h>

#include <algorithm>

#include "network.h"

namespace {

// Weights of a part of conv1 that should stay in the L2 cache while samples take turns.
constexpr int64_t PART_FLOATS = 1 << 17;
// Maps of at least this many pixels for each thread are shared out by pixels, others by channels.
constexpr int64_t SHARED_PIXELS = 64;

}  // namespace

void Network::mean(const Block &block, const float *map, float *means) const {
  const int64_t channels = block.to.channels;
  std::fill(means, means + channels, 0.f);
  tiles_->add_pixels(map, block.to_pixels.data(), 0, block.pixels(), channels, means);
  for (int64_t c = 0; c < channels; ++c) means[c] /= float(block.pixels());
}

// The open channels of a block: always on, then those whose logit is at least 0.
void Network::gate(size_t index, Workspace &space, const float *map, const uint8_t *forced,
                   std::vector<int32_t> &list) const {
  const Block &block = blocks_[index];
  list.clear();
  for (int64_t c = 0; c < block.on; ++c) list.push_back(int32_t(c));
  if (!block.hidden) return;
  const int64_t channels = block.from.channels;
  float *pooled = space.pooled.at();
  std::fill(pooled, pooled + channels, 0.f);
  tiles_->add_pixels(map, block.source_pixels.data(), 0, int64_t(block.source_pixels.size()),
                     channels, pooled);
  const float scale = 1 / float(block.source_pixels.size());
  for (int64_t c = 0; c < channels; ++c) pooled[c] *= scale;
  block.gate.logits(tiles_, 1, pooled, space.hidden.at(), space.logits.at());
  block.gate.add_open(space.logits.at(), block.on, forced ? forced + masks_at_[index] : nullptr,
                      list);
}

void Network::rows(const Block &block, const float *map, const std::vector<int32_t> &list,
                   float *inner, int64_t first, int64_t last, int64_t first_pixel,
                   int64_t last_pixel) const {
  RowsTask task = {};
  task.x = map;
  task.x_pixels = block.from_pixels.data();
  task.channels = block.from.channels;
  task.x_pitch = block.from.pitch() * task.channels;
  task.kernel_rows = 3;
  task.length = 3 * task.channels;
  task.weights = block.rows.at();
  task.bias = block.rows_bias.at();
  task.list = list.data();
  task.first = first, task.last = last;
  task.out = inner;
  task.out_pixels = block.to_pixels.data();
  task.out_channels = odd_lines(int64_t(list.size()));
  task.first_pixel = first_pixel, task.last_pixel = last_pixel;
  tiles_->rows(&task);
}

void Network::columns(const Block &block, const float *map, const std::vector<int32_t> &list,
                      const float *inner, float *target, int64_t out_block, int64_t first_pixel,
                      int64_t last_pixel) const {
  const int64_t start = out_block * tiles_->block, open = int64_t(list.size());
  const int64_t channels = odd_lines(open);
  ColumnsTask task = {};
  task.half = block.to.channels - start < tiles_->block;
  task.out = target + start;
  task.out_pixels = block.to_pixels.data();
  task.out_channels = block.to.channels;
  task.first_pixel = first_pixel, task.last_pixel = last_pixel;
  if (block.downsample) {
    // The one tap of a 1x1 kernel is where the middle of the 3x3 kernel lies.
    const int32_t tap = int32_t((block.from.pitch() + 1) * block.from.channels);
    task.x = map;
    task.x_pixels = block.from_pixels.data();
    task.channels = block.from.channels;
    task.taps = &tap;
    task.tap_count = 1;
    task.weights = block.shortcut.at(start * block.in);
    task.list = everything_.data();
    task.count = block.in;
    task.bias = block.shortcut_bias.at(start);
    tiles_->columns(&task);
  }
  int32_t taps[9];
  for (int t = 0; t < 9; ++t) taps[t] = int32_t((t / 3 * block.to.pitch() + t % 3) * channels);
  task.x = inner;
  task.x_pixels = block.inner_pixels.data();
  task.channels = channels;
  task.taps = taps;
  task.tap_count = 9;
  task.weights = block.columns.at(start * block.kept * 9);
  task.list = list.data();
  task.count = open;
  task.bias = block.columns_bias.at(start);
  task.add = 1;
  task.relu = 1;
  tiles_->columns(&task);
}

void Network::clear_border(const Block &block, float *inner, size_t count) const {
  const size_t open = odd_lines(int64_t(count));
  const size_t pitch = block.to.pitch() * open, last = block.to.height + 1;
  std::fill(inner, inner + pitch, 0.f);
  std::fill(inner + last * pitch, inner + (last + 1) * pitch, 0.f);
  for (size_t y = 1; y < last; ++y) {
    std::fill(inner + y * pitch, inner + y * pitch + open, 0.f);
    std::fill(inner + (y + 1) * pitch - open, inner + (y + 1) * pitch, 0.f);
  }
}

void Network::record(size_t index, const std::vector<int32_t> &list, uint8_t *masks) const {
  if (!masks) return;
  const int64_t on = blocks_[index].on;
  for (size_t i = size_t(on); i < list.size(); ++i) masks[masks_at_[index] + list[i] - on] = 1;
}

// One late block for the samples in hand: each part of the weights serves all of them in turn.
void Network::late(size_t index, Workspace &space, const Call &call, int64_t first,
                   int64_t last) const {
  const Block &block = blocks_[index];
  auto &from = space.maps[block.source], &to = space.maps[block.target];
  const int64_t count = last - first, pixels = block.pixels();
  for (int64_t s = 0; s < count; ++s) {
    gate(index, space, from[s].at(), forced(call, first + s), space.lists[s]);
    record(index, space.lists[s], masks(call, first + s));
    clear_border(block, space.inner.at(s * inner_floats_), space.lists[s].size());
  }
  const int64_t part = std::max<int64_t>(16, PART_FLOATS / (9 * block.from.channels));
  for (int64_t start = 0; start < block.kept; start += part)
    for (int64_t s = 0; s < count; ++s) {
      const auto &list = space.lists[s];
      const auto begin = std::lower_bound(list.begin(), list.end(), int32_t(start));
      const auto end = std::lower_bound(begin, list.end(), int32_t(start + part));
      rows(block, from[s].at(), list, space.inner.at(s * inner_floats_), begin - list.begin(),
           end - list.begin(), 0, pixels);
    }
  const int64_t blocks = (block.out + tiles_->block - 1) / tiles_->block;
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t s = 0; s < count; ++s)
      columns(block, from[s].at(), space.lists[s], space.inner.at(s * inner_floats_), to[s].at(),
              b, 0, pixels);
}

void Network::samples(int thread, const Call &call, int64_t first, int64_t last) {
  Workspace &space = spaces_[thread];
  size_t early = 0;
  while (early < blocks_.size() && !blocks_[early].late) ++early;
  for (int64_t s = first; s < last; ++s) {
    auto slot = [&](int map) { return space.maps[map][slots_[map] > 1 ? s - first : 0].at(); };
    stem_.normalise(image(call, s), call.bytes, space.image.at(), 0, 1);
    stem_.convolve(space.image.at(), pooled_ ? space.stem.at() : slot(0),
                   {0, stem_map_.height * stem_map_.width});
    if (pooled_) stem_.pool(space.stem.at(), maps_[0], slot(0), {0, maps_[0].height});
    for (size_t b = 0; b < early; ++b) {
      const Block &block = blocks_[b];
      auto &list = space.lists[0];
      gate(b, space, slot(block.source), forced(call, s), list);
      record(b, list, masks(call, s));
      clear_border(block, space.inner.at(), list.size());
      rows(block, slot(block.source), list, space.inner.at(), 0, int64_t(list.size()), 0,
           block.pixels());
      for (int64_t start = 0; start < block.out; start += tiles_->block)
        columns(block, slot(block.source), list, space.inner.at(), slot(block.target),
                start / tiles_->block, 0, block.pixels());
    }
    if (early == blocks_.size()) {
      mean(blocks_.back(), slot(blocks_.back().target), space.pooled.at());
      memcpy(call.features + s * out_, space.pooled.at(), out_ * sizeof(float));
    }
  }
  if (early == blocks_.size()) return;
  for (size_t b = early; b < blocks_.size(); ++b) late(b, space, call, first, last);
  const Block &back = blocks_.back();
  for (int64_t s = first; s < last; ++s) {
    mean(back, space.maps[back.target][s - first].at(), space.pooled.at());
    memcpy(call.features + s * out_, space.pooled.at(), out_ * sizeof(float));
  }
}

// One sample on all threads, in steps: pixels, stem, perhaps pooling, then for each block conv1
// and conv2. Returns how many items a step has; the first of a block is where its gate decides.
int Network::prepare_step(int step, const Call &call, int64_t image) {
  const int first = pooled_ ? 3 : 2;
  if (step < first) return 2 * threads();
  const size_t index = size_t(step - first) / 2;
  const Block &block = blocks_[index];
  const bool by_pixels = block.pixels() >= SHARED_PIXELS * threads();
  Workspace &space = spaces_[0];
  if ((step - first) % 2 == 1)
    return by_pixels ? 2 * threads() : int((block.out + tiles_->block - 1) / tiles_->block);
  auto &list = space.lists[0];
  gate(index, space, space.maps[block.source][0].at(), forced(call, image), list);
  record(index, list, masks(call, image));
  clear_border(block, space.inner.at(), list.size());
  return by_pixels ? 2 * threads() : std::clamp<int>(int(list.size() + 3) / 4, 1, 4 * threads());
}

void Network::do_item(int, int step, int item, int items, const Call &call, int64_t index) {
  const int first = pooled_ ? 3 : 2;
  Workspace &space = spaces_[0];
  auto map = [&](int m) { return space.maps[m][0].at(); };
  if (step == 0)
    return stem_.normalise(image(call, index), call.bytes, space.image.at(), item, items);
  if (step == 1)
    return stem_.convolve(space.image.at(), pooled_ ? space.stem.at() : map(0),
                          share(stem_map_.height * stem_map_.width, item, items));
  if (step < first)
    return stem_.pool(space.stem.at(), maps_[0], map(0), share(maps_[0].height, item, items));
  const Block &block = blocks_[size_t(step - first) / 2];
  const auto &list = space.lists[0];
  const int64_t open = int64_t(list.size()), pixels = block.pixels();
  const int64_t blocks = (block.out + tiles_->block - 1) / tiles_->block;
  const bool by_pixels = pixels >= SHARED_PIXELS * threads();
  const Share part = by_pixels ? share(pixels, item, items) : Share{0, pixels};
  if ((step - first) % 2 == 0) {
    const Share places = by_pixels ? Share{0, open} : share(open, item, items, 4);
    return rows(block, map(block.source), list, space.inner.at(), places.first, places.last,
                part.first, part.last);
  }
  for (int64_t b = by_pixels ? 0 : item; b < (by_pixels ? blocks : item + 1); ++b)
    columns(block, map(block.source), list, space.inner.at(), map(block.target), b, part.first,
            part.last);
}

void Network::finish(const Call &call, int64_t index) {
  Workspace &space = spaces_[0];
  const Block &back = blocks_.back();
  mean(back, space.maps[back.target][0].at(), space.pooled.at());
  memcpy(call.features + index * out_, space.pooled.at(), out_ * sizeof(float));
}

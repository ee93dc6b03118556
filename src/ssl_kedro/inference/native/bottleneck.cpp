#include "bottleneck.h"

#include <algorithm>

namespace {

// A block with more weights than this is computed for many samples at a time.
constexpr int64_t LATE_FLOATS = 1 << 18;
constexpr int64_t GROUP_FLOATS = 4 << 20;
// Weights that should stay in the L2 cache while samples take turns.
constexpr int64_t PART_FLOATS = 1 << 17;
// Maps of at least this many pixels for each thread are shared out by pixels, others by channels.
constexpr int64_t SHARED_PIXELS = 128;

Rows read_rows(Reader<float> &reader, int64_t out, int64_t length) {
  Rows rows;
  rows.row = odd_lines(length);
  rows.weights = Floats(out * rows.row);
  const float *weights = reader.take(out * length);
  for (int64_t o = 0; o < out; ++o)
    std::copy(weights + o * length, weights + (o + 1) * length, rows.weights.at(o * rows.row));
  rows.bias = copied(reader.take(out), out, out + 1);
  return rows;
}

Rows read_blocks(Reader<float> &reader, int64_t out, int64_t in) {
  Rows rows;
  rows.row = in * ROW_BLOCK;
  rows.blocked = 1;
  rows.weights = packed_columns(reader.take(out * in), out, in, 1, ROW_BLOCK);
  rows.bias = copied(reader.take(out), out, out + 1);
  return rows;
}

// Every stride-th pixel from (top, left) on, where there is one; `lines` and `columns` of them.
void pick_pixels(const float *from, const Planes &map, int64_t stride, int64_t top, int64_t left,
                 float *to, int64_t pitch, int64_t lines, int64_t columns) {
  const int64_t skipped = left < 0;
  const int64_t end = std::min(columns, (map.width - left + stride - 1) / stride);
  for (int64_t j = 0; j < lines; ++j) {
    const int64_t y = top + j * stride;
    if (y < 0 || y >= map.height) continue;
    const float *in = from + y * map.pitch() + left;
    float *out = to + j * pitch;
    if (stride == 2)
      for (int64_t k = skipped; k < end; ++k) out[k] = in[2 * k];
    else
      for (int64_t k = skipped; k < end; ++k) out[k] = in[stride * k];
  }
}

// The places of a list whose channels lie between two.
Share places_between(const std::vector<int32_t> &list, int64_t first, int64_t last) {
  const auto begin = std::lower_bound(list.begin(), list.end(), int32_t(first));
  const auto end = std::lower_bound(begin, list.end(), int32_t(last));
  return {begin - list.begin(), end - list.begin()};
}

}  // namespace

BottleneckNetwork::BottleneckNetwork(const Shape &shape, const float *weights, int threads,
                                     const Tiles *tiles)
    : Layout(shape, threads, LATE_FLOATS), tiles_(tiles) {
  for (const Planes &map : maps_) {
    inside_.emplace_back(size_t(map.run()));
    for (int32_t place : pixel_places(map.height, map.width, 1, map.pitch(), 0))
      *inside_.back().at(place) = -1;
  }
  for (Bottleneck &b : blocks_) {
    const int64_t pitch = b.to.pitch(), stride = b.stride;
    b.phases = stride == 1 ? 0 : std::min<int64_t>(stride, 3);
    b.phase = rounded(b.to.run() + pitch + 2, 16);
    for (int64_t y = 0; y < 3; ++y)
      for (int64_t x = 0; x < 3; ++x)
        b.taps.push_back(int32_t(
            b.phases ? (y % stride * b.phases + x % stride) * b.phase + y / stride * pitch +
                           x / stride
                     : (y - 1) * pitch + x - 1));
  }
  read(shape, weights);
  group(GROUP_FLOATS, 1);
  spaces_.resize(threads);
  for (BottleneckWorkspace &space : spaces_) prepare(space);
}

void BottleneckNetwork::read(const Shape &shape, const float *weights) {
  Reader<float> reader{weights};
  stem_ = Stem(reader, shape, stem_map_, tiles_);
  int64_t most = 1;
  for (Bottleneck &b : blocks_) {
    b.convolutions[0] = read_rows(reader, b.kept, b.in);
    b.convolutions[1] = read_rows(reader, b.kept2, 9 * b.kept);
    b.convolutions[2] = read_blocks(reader, b.out, b.kept2);
    if (b.downsample) b.shortcut = read_blocks(reader, b.out, b.in);
    if (b.hidden) b.gates[0] = Gate(reader, b.in, b.from.channels, b.hidden, b.kept - b.on);
    if (b.hidden2) b.gates[1] = Gate(reader, b.in, b.from.channels, b.hidden2, b.kept2 - b.on2);
    most = std::max({most, b.in, b.kept, b.kept2, b.out});
  }
  for (int64_t i = 0; i < most; ++i) everything_.push_back(int32_t(i));
}

void BottleneckNetwork::prepare(BottleneckWorkspace &space) const {
  space.image = Floats(stem_.image_floats());
  space.stem = Floats(stem_map_.values());
  if (pooled_)
    space.map = Floats(Map{maps_[0].height, maps_[0].width, stem_map_.channels}.values());
  const size_t maps = maps_.size();
  space.maps.resize(maps), space.first.resize(maps), space.phases.resize(maps);
  for (size_t m = 0; m < maps; ++m)
    for (int64_t slot = 0; slot < slots_[m]; ++slot) space.maps[m].emplace_back(maps_[m].values());
  // The border of what the middle convolution reads is never written: each map has its own.
  std::vector<size_t> first(maps), phases(maps), images(maps, 1);
  size_t widest = 16, hidden = 16, second = 1, picked = 1;
  for (const Bottleneck &b : blocks_) {
    const size_t m = size_t(b.source);
    first[m] = std::max(first[m], size_t(b.kept * b.from.plane()));
    if (b.phases) phases[m] = std::max(phases[m], size_t(b.kept * b.phase_plane()));
    if (b.late) images[m] = size_t(group_);
    second = std::max(second, size_t(b.kept2 * b.to.plane()));
    if (b.phases) picked = std::max(picked, size_t(b.in * b.to.plane()));
    widest = size_t(std::max({int64_t(widest), b.from.channels, b.to.channels, b.kept, b.kept2}));
    hidden = size_t(std::max({int64_t(hidden), rounded(b.hidden, 16), rounded(b.hidden2, 16)}));
  }
  for (size_t m = 0; m < maps; ++m)
    for (size_t i = 0; i < images[m]; ++i) {
      space.first[m].emplace_back(first[m]);
      space.phases[m].emplace_back(phases[m]);
    }
  for (int64_t i = 0; i < group_; ++i) {
    space.second.emplace_back(second);
    space.picked.emplace_back(picked);
  }
  space.pooled = Floats(widest);
  space.hidden = Floats(hidden);
  space.logits = Floats(widest);
  space.openings.resize(group_);
  for (Openings &openings : space.openings)
    for (auto &list : openings.lists) list.reserve(widest);
}

// Part of the stem's convolution or, where there is one, of its pooling; as planes.
void BottleneckNetwork::stem(BottleneckWorkspace &space, float *planes, int part, int parts) const {
  const Planes &to = maps_[0];
  const Map from = {to.height, to.width, stem_map_.channels};
  const Share lines = share(to.height, part, parts);
  if (pooled_) stem_.pool(space.stem.at(), from, space.map.at(), lines);
  else
    stem_.convolve(space.image.at(), space.stem.at(),
                   {lines.first * to.width, lines.last * to.width});
  const float *map = (pooled_ ? space.map : space.stem).at();
  for (int64_t y = lines.first; y < lines.last; ++y)
    for (int64_t c = 0; c < width_; ++c) {
      const float *in = map + ((y + 1) * from.pitch() + 1) * from.channels + c;
      float *out = planes + c * to.plane() + y * to.pitch();
      for (int64_t x = 0; x < to.width; ++x) out[x] = in[x * from.channels];
    }
}

void BottleneckNetwork::pool(const Bottleneck &b, BottleneckWorkspace &space,
                             const float *map) const {
  if (b.hidden || b.hidden2)
    tiles_->plane_means(map, b.from.plane(), b.from.channels, b.from.run(),
                        1 / float(b.from.height * b.from.width), space.pooled.at());
}

// The open channels of a layer: always on, then those whose logit is at least 0.
void BottleneckNetwork::open(size_t index, int layer, BottleneckWorkspace &space, int slot,
                             const Call &call, int64_t image) const {
  const Bottleneck &b = blocks_[index];
  const Gate &gate = b.gates[layer];
  const int64_t on = layer ? b.on2 : b.on;
  const int64_t at = masks_at_[index] + (layer ? b.kept - b.on : 0);
  auto &list = space.openings[slot].lists[layer];
  list.assign(everything_.begin(), everything_.begin() + on);
  if (!(layer ? b.hidden2 : b.hidden)) return;
  gate.logits(tiles_, 1, space.pooled.at(), space.hidden.at(), space.logits.at());
  const uint8_t *wanted = forced(call, image);
  gate.add_open(space.logits.at(), on, wanted ? wanted + at : nullptr, list);
  if (uint8_t *masks = this->masks(call, image))
    for (size_t i = size_t(on); i < list.size(); ++i) masks[at + list[i] - on] = 1;
}

PlanesTask BottleneckNetwork::task(const Rows &rows, int to, Share places, Share pixels) const {
  PlanesTask task = {};
  task.weights = rows.weights.at();
  task.row = rows.row;
  task.blocked = rows.blocked;
  task.bias = rows.bias.at();
  task.in = task.list = everything_.data();
  task.taps = everything_.data();  // none but the pixel itself
  task.tap_count = 1;
  task.relu = 1;
  task.first = places.first, task.last = places.last;
  task.first_pixel = pixels.first, task.last_pixel = pixels.last;
  task.out_plane = maps_[to].plane();
  task.inside = inside_[to].at();
  return task;
}

void BottleneckNetwork::first(const Bottleneck &b, BottleneckWorkspace &space, const float *map,
                              int slot, Share places, Share pixels) const {
  PlanesTask task = this->task(b.convolutions[0], b.source, places, pixels);
  task.x = map;
  task.x_plane = b.from.plane();
  task.count = b.in;
  task.list = space.openings[slot].lists[0].data();
  task.out = space.first[b.source][slot].at(b.from.lead());
  tiles_->planes(&task);
  if (!b.phases) return;
  float *phases = space.phases[b.source][slot].at();
  for (int64_t p = places.first; p < places.last; ++p)
    for (int64_t y = 0; y < b.phases; ++y)
      for (int64_t x = 0; x < b.phases; ++x)
        pick_pixels(task.out + p * task.out_plane, b.from, b.stride, y - 1, x - 1,
                    phases + p * b.phase_plane() + (y * b.phases + x) * b.phase,
                    b.to.pitch(), b.to.height + 1, b.to.width + 1);
}

// What the shortcut reads at a stride.
void BottleneckNetwork::pick(const Bottleneck &b, BottleneckWorkspace &space, const float *map,
                             int slot, Share channels) const {
  if (!b.phases) return;
  for (int64_t c = channels.first; c < channels.last; ++c)
    pick_pixels(map + c * b.from.plane(), b.from, b.stride, 0, 0,
                space.picked[slot].at(c * b.to.plane()), b.to.pitch(), b.to.height, b.to.width);
}

void BottleneckNetwork::second(const Bottleneck &b, BottleneckWorkspace &space, int slot,
                               Share places, Share pixels) const {
  const Openings &open = space.openings[slot];
  PlanesTask task = this->task(b.convolutions[1], b.target, places, pixels);
  task.x = b.phases ? space.phases[b.source][slot].at()
                    : space.first[b.source][slot].at(b.from.lead());
  task.x_plane = b.phases ? b.phase_plane() : b.from.plane();
  task.taps = b.taps.data();
  task.tap_count = 9;
  task.in = open.lists[0].data();
  task.count = int64_t(open.lists[0].size());
  task.list = open.lists[1].data();
  task.out = space.second[slot].at();
  tiles_->planes(&task);
}

void BottleneckNetwork::third(const Bottleneck &b, BottleneckWorkspace &space, const float *map,
                              float *target, int slot, Share channels, Share pixels) const {
  if (b.downsample) {
    PlanesTask task = this->task(b.shortcut, b.target, channels, pixels);
    task.x = b.phases ? space.picked[slot].at() : map;
    task.x_plane = b.phases ? b.to.plane() : b.from.plane();
    task.count = b.in;
    task.relu = 0;
    task.out = target;
    tiles_->planes(&task);
  }
  const std::vector<int32_t> &list = space.openings[slot].lists[1];
  PlanesTask task = this->task(b.convolutions[2], b.target, channels, pixels);
  task.x = space.second[slot].at();
  task.x_plane = b.to.plane();
  task.in = list.data();
  task.count = int64_t(list.size());
  task.out = target;
  task.add = 1;
  tiles_->planes(&task);
}

// One block for the images in hand: each part of the weights serves all of them in turn.
void BottleneckNetwork::block(size_t index, BottleneckWorkspace &space, const Call &call,
                              int64_t image, int64_t count, int64_t slot) const {
  const Bottleneck &b = blocks_[index];
  auto in_turns = [&](int64_t channels, int64_t row, auto convolve) {
    const int64_t whole = std::max<int64_t>(1, PART_FLOATS / row / ROW_BLOCK) * ROW_BLOCK;
    const int64_t part = count > 1 ? whole : channels;
    for (int64_t start = 0; start < channels; start += part)
      for (int64_t i = 0; i < count; ++i) convolve(int(i), start, std::min(channels, start + part));
  };
  const Share before = {0, b.from.end()}, after = {0, b.to.end()};
  for (int64_t i = 0; i < count; ++i) {
    pool(b, space, map(space, b.source, slot + i));
    for (int layer = 0; layer < 2; ++layer) open(index, layer, space, int(i), call, image + i);
    pick(b, space, map(space, b.source, slot + i), int(i), {0, b.in});
  }
  in_turns(b.kept, b.convolutions[0].row, [&](int i, int64_t start, int64_t end) {
    first(b, space, map(space, b.source, slot + i), i,
          places_between(space.openings[i].lists[0], start, end), before);
  });
  in_turns(b.kept2, b.convolutions[1].row, [&](int i, int64_t start, int64_t end) {
    second(b, space, i, places_between(space.openings[i].lists[1], start, end), after);
  });
  in_turns(b.out, b.kept2 + (b.downsample ? b.in : 0), [&](int i, int64_t start, int64_t end) {
    third(b, space, map(space, b.source, slot + i), map(space, b.target, slot + i), i, {start, end},
          after);
  });
}

void BottleneckNetwork::features(BottleneckWorkspace &space, int64_t slot, const Call &call,
                                 int64_t image) const {
  const Bottleneck &b = blocks_.back();
  tiles_->plane_means(map(space, b.target, slot), b.to.plane(), b.out, b.to.run(),
                      1 / float(b.pixels()), call.features + image * out_);
}

void BottleneckNetwork::samples(int thread, const Call &call, int64_t first, int64_t last) {
  BottleneckWorkspace &space = spaces_[thread];
  size_t early = 0;
  while (early < blocks_.size() && !blocks_[early].late) ++early;
  for (int64_t s = first; s < last; ++s) {
    stem_.normalise(image(call, s), call.bytes, space.image.at(), 0, 1);
    if (pooled_)
      stem_.convolve(space.image.at(), space.stem.at(), {0, stem_map_.height * stem_map_.width});
    stem(space, map(space, 0, s - first), 0, 1);
    for (size_t b = 0; b < early; ++b) block(b, space, call, s, 1, s - first);
    if (early == blocks_.size()) features(space, 0, call, s);
  }
  if (early == blocks_.size()) return;
  for (size_t b = early; b < blocks_.size(); ++b) block(b, space, call, first, last - first, 0);
  for (int64_t s = first; s < last; ++s) features(space, s - first, call, s);
}

// One sample on all threads, in steps: pixels, stem, perhaps pooling, then for each block its three
// convolutions. Returns how many items a step has; before the first convolution its gate decides,
// and beside it the gate of the second, as an item of its own.
int BottleneckNetwork::prepare_step(int step, const Call &call, int64_t image) {
  const int first = pooled_ ? 3 : 2;
  if (step < first) return 2 * threads();
  const size_t index = size_t(step - first) / 3;
  const int convolution = (step - first) % 3;
  const Bottleneck &b = blocks_[index];
  BottleneckWorkspace &space = spaces_[0];
  if (convolution == 0) {
    pool(b, space, map(space, b.source, 0));
    open(index, 0, space, 0, call, image);
  }
  const int64_t step_of_it = step_of(convolution), channels = channels_of(b, convolution);
  const int64_t steps =
      by_pixels(b, convolution) ? 4 * threads() : (channels + step_of_it - 1) / step_of_it;
  return int(std::clamp<int64_t>(steps, 1, 4 * threads())) + (convolution == 0);
}

// Whether all threads share out a convolution of one image by pixels, rather than by channels.
bool BottleneckNetwork::by_pixels(const Bottleneck &b, int convolution) const {
  const Planes &map = convolution ? b.to : b.from;
  return map.run() >= SHARED_PIXELS * threads() && (convolution || !b.phases);
}

void BottleneckNetwork::do_item(int, int step, int item, int items, const Call &call,
                                int64_t image) {
  const int first_step = pooled_ ? 3 : 2;
  BottleneckWorkspace &space = spaces_[0];
  if (step == 0)
    return stem_.normalise(this->image(call, image), call.bytes, space.image.at(), item, items);
  if (step + 1 < first_step)
    return stem_.convolve(space.image.at(), space.stem.at(),
                          share(stem_map_.height * stem_map_.width, item, items));
  if (step < first_step) return stem(space, map(space, 0, 0), item, items);
  const size_t index = size_t(step - first_step) / 3;
  const int convolution = (step - first_step) % 3;
  const Bottleneck &b = blocks_[index];
  const float *from = map(space, b.source, 0);
  if (convolution == 0) {
    if (item == 0) return open(index, 1, space, 0, call, image);
    --item, --items;
    pick(b, space, from, 0, share(b.in, item, items));
  }
  const int64_t end = (convolution ? b.to : b.from).end(), channels = channels_of(b, convolution);
  const bool whole = by_pixels(b, convolution);
  const Share pixels = whole ? share(end, item, items, 16) : Share{0, end};
  const Share places =
      whole ? Share{0, channels} : share(channels, item, items, step_of(convolution));
  if (convolution == 0) first(b, space, from, 0, places, pixels);
  if (convolution == 1) second(b, space, 0, places, pixels);
  if (convolution == 2) third(b, space, from, map(space, b.target, 0), 0, places, pixels);
}

void BottleneckNetwork::finish(const Call &call, int64_t image) {
  features(spaces_[0], 0, call, image);
}

#include <math.h>

#include "int8.h"

namespace {

// A block whose weights take more bytes than this is computed for many images at a time.
constexpr int64_t LATE_BYTES = 1 << 19;
constexpr int64_t GROUP_BYTES = 4 << 20;
// Pixels of a row, or any pixels, in tiles of even size but for multiples of 4.
std::vector<PixelTile> tiles_of(int64_t rows, int64_t length) {
  std::vector<PixelTile> tiles;
  const int64_t count = (length + 15) / 16;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < count; ++i) {
      const Share part = share(length, i, count, 4);
      tiles.push_back({int32_t(row * length + part.first), int32_t(part.last - part.first)});
    }
  return tiles;
}

// That tiles take, of 16 channels.
int64_t products(const std::vector<PixelTile> &tiles, int64_t pixels) {
  int64_t count = 0;
  for (const PixelTile &tile : tiles) count += (tile.count + pixels - 1) / pixels;
  return count;
}

// Rows of bytes as pairs of channel tiles.
void pack_all(const Int8Tiles *int8, const Weights &rows, int64_t out, int64_t count,
              const std::vector<int32_t> &everything, Weights &packed) {
  packed = Weights(rounded(out, PAIR_CHANNELS) / PAIR_CHANNELS * count * PAIR);
  for (int64_t c = 0; c < out; c += 16)
    int8->pack_rows(rows.at(), count, everything.data() + c, std::min<int64_t>(16, out - c),
                    packed.at(c / PAIR_CHANNELS * count * PAIR + c % PAIR_CHANNELS / 16 * LINE));
}

// (out, in, 3, 3) as the reading has it: [out][segment][tap][channel], zeros up to whole lines.
Weights packed_kernels(const int8_t *weights, int64_t out, int64_t in, int64_t channels,
                       const Reading &how) {
  const int64_t length = how.count() * LINE;
  Weights packed(out * length);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < 9; ++t) {
        const int64_t at = how.gathered() ? t * channels : t / 3 * how.bytes() + t % 3 * channels;
        *packed.at(o * length + at + i) = weights[(o * in + i) * 9 + t];
      }
  return packed;
}

// (out, in, taps) as [out / 64][tap][in][64], in the order of pack_columns.
Weights packed_columns(const int8_t *weights, int64_t out, int64_t in, int64_t taps) {
  Weights packed(rounded(out, COLUMN_BLOCK) * in * taps);
  for (int64_t b = 0; b < out; b += COLUMN_BLOCK)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t p = 0; p < COLUMN_BLOCK; ++p) {
          const int64_t o = b + column_at(p);
          const int64_t at = b * in * taps + (t * in + i) * COLUMN_BLOCK + p;
          if (o < out) *packed.at(at) = weights[(o * in + i) * taps + t];
        }
  return packed;
}

// (out, in, taps) as [out][tap][in], whole lines of inputs.
Weights in_lines(const int8_t *weights, int64_t out, int64_t in, int64_t taps) {
  const int64_t length = lines(in) * LINE;
  Weights packed(out * taps * length);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t t = 0; t < taps; ++t)
        *packed.at((o * taps + t) * length + i) = weights[(o * in + i) * taps + t];
  return packed;
}

}  // namespace

int64_t Int8Arrays::weight_count(const Shape &shape) {
  int64_t count = shape.width() * 3 * shape.kernel() * shape.kernel();
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    const Shape::Block s = shape.block(b);
    count += s.weights() + (s.downsample ? s.in * s.out : 0);
  }
  return count;
}

// Levels of pixels that are 0; of each block byte, factor and word; scales and biases.
int64_t Int8Arrays::float_count(const Shape &shape) {
  int64_t count = 3 + 2 * shape.width();
  for (int64_t b = 0; b < shape.blocks(); ++b) {
    const Shape::Block s = shape.block(b);
    count += 3 + 2 * s.kept + 2 * s.out + (s.downsample ? 2 * s.out : 0);
    if (s.bottleneck()) count += 2 * s.kept2;
    count += HalfGate::floats(s.in, s.hidden, s.dependent());
    count += HalfGate::floats(s.in, s.hidden2, s.dependent2());
  }
  return count;
}

Int8Network::Int8Network(const Shape &shape, Int8Arrays arrays, int threads, const Int8Tiles *int8)
    : Layout(shape, threads, LATE_BYTES), int8_(int8) {
  int64_t most = stem_map_.height * stem_map_.width;
  for (Int8Block &block : blocks_) {
    find_places(block);
    most = std::max({most, block.in, block.kept, block.kept2, block.out,
                     block.to.height * block.to.pitch(), block.from.height * block.from.pitch()});
  }
  for (int64_t i = 0; i < most; ++i) everything_.push_back(int32_t(i));
  read_stem(arrays);
  for (Int8Block &block : blocks_) {
    if (block.bottleneck()) read_bottleneck(arrays, block);
    else read_block(arrays, block);
  }
  for (size_t b = 0; b + 1 < blocks_.size(); ++b) blocks_[b].to_factor = blocks_[b + 1].from_factor;
  group(GROUP_BYTES, 3);  // a byte and a word
  spaces_.resize(threads);
  for (Int8Workspace &space : spaces_) prepare(space);
}

void Int8Network::find_places(Int8Block &block) const {
  block.find_pixels();
  const int64_t h = block.to.height, w = block.to.width, pitch = block.to.pitch();
  block.flat_pixels = pixel_places(h, pitch, 1, pitch, pitch + 1);
  block.tiles[int(Way::by_row)] = ::tiles_of(h, w);
  block.tiles[int(Way::flat)] = ::tiles_of(1, h * pitch - 1);
  block.tiles[int(Way::gathered)] = ::tiles_of(1, h * w);
  if (!block.bottleneck()) {
    block.reading = reading_of(block, block.from.channels, (block.kept + 31) / 32, block.stride == 1);
    return;
  }
  auto cheaper = [&](const std::vector<PixelTile> &rows, const std::vector<PixelTile> &flat) {
    return products(flat, int8_->pixels) < products(rows, int8_->pixels) ? Way::flat : Way::by_row;
  };
  block.last_way = cheaper(block.tiles[int(Way::by_row)], block.tiles[int(Way::flat)]);
  const ByteMap &from = block.from;
  const int64_t run = from.height * from.pitch() - 1;
  block.first_tiles = ::tiles_of(from.height, from.width);
  block.first_way = cheaper(block.first_tiles, ::tiles_of(1, run));
  block.first_places = block.source_pixels;
  if (block.first_way == Way::by_row) return;
  block.first_tiles = ::tiles_of(1, run);
  block.first_places = pixel_places(1, run, 1, 0, from.pitch() + 1);
}

int64_t Int8Network::cost(const Int8Block &block, const Reading &how) const {
  const int64_t steps = (how.quads * 4 + int8_->bytes - 1) / int8_->bytes;
  return products(block.tiles[int(how.way)], int8_->pixels) * how.segments() * steps *
         int8_->cycles;
}

Reading Int8Network::reading_of(const Int8Block &block, int64_t channels, int64_t channel_tiles,
                                bool flat) const {
  Reading best = {Way::gathered, 9 * channels / 4};
  int64_t least = block.pixels() * 3 * lines(3 * channels) * COPY_COST + cost(block, best) * channel_tiles;
  for (Way way : {Way::by_row, Way::flat}) {
    const Reading how = {way, 3 * channels / 4};
    const int64_t cycles = cost(block, how) * channel_tiles;
    if (cycles > least || (way == Way::flat && !flat)) continue;
    least = cycles;
    best = how;
  }
  return best;
}

void Int8Network::read_stem(Int8Arrays &arrays) {
  const float *levels = arrays.floats.take(3);
  nothing_ = 0;
  for (int c = 0; c < 3; ++c) nothing_ |= uint32_t(lrintf(levels[c])) << (8 * c);
  const int64_t taps = kernel_ * kernel_, pitch = side_ + 2 * padding_;
  stack_ = std::clamp<int64_t>(LINE / 4 / kernel_, 1, kernel_);
  const int64_t segments = (kernel_ + stack_ - 1) / stack_, count = segments * lines(4 * kernel_ * stack_);
  const int8_t *weights = arrays.weights.take(width_ * 3 * taps);
  Weights rows(width_ * count * LINE);
  for (int64_t o = 0; o < width_; ++o)
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t y = t / kernel_, x = t % kernel_;
        const int64_t at = y / stack_ * count / segments * LINE + (x * stack_ + y % stack_) * 4 + c;
        *rows.at(o * count * LINE + at) = weights[(o * 3 + c) * taps + t];
      }
  pack_all(int8_, rows, width_, count, everything_, stem_);
  stem_scale_ = copied(arrays.floats.take(width_), width_, rounded(width_, PAIR_CHANNELS));
  stem_bias_ = copied(arrays.floats.take(width_), width_, rounded(width_, PAIR_CHANNELS));
  for (int64_t y = 0; y < stem_map_.height; ++y)
    for (int64_t x = 0; x < stem_map_.width; ++x)
      stem_from_.push_back(int32_t((y * pitch + x) * step_));
  stem_tiles_ = ::tiles_of(stem_map_.height, stem_map_.width);
}

void Int8Network::read_shortcut(Int8Arrays &arrays, Int8Block &b) {
  const int8_t *weights = arrays.weights.take(b.in * b.out);
  const int64_t count = lines(b.from.channels);
  Weights rows(b.out * count * LINE);
  for (int64_t o = 0; o < b.out; ++o)
    std::copy(weights + o * b.in, weights + (o + 1) * b.in, rows.at(o * count * LINE));
  pack_all(int8_, rows, b.out, count, everything_, b.shortcut);
  b.shortcut_scale = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
  b.shortcut_bias = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
}

void Int8Network::read_gates(Int8Arrays &arrays, Int8Block &b) {
  auto halves = [&](const Floats &weights) {
    Buffer<uint16_t> made(weights.size());
    int8_->halve(weights.at(), int64_t(weights.size()), made.at());
    return made;
  };
  const int64_t channels = b.from.channels;
  if (b.hidden)
    b.gates[0] = HalfGate(arrays.floats, b.in, channels, b.hidden, b.kept - b.on, halves);
  if (b.hidden2)
    b.gates[1] = HalfGate(arrays.floats, b.in, channels, b.hidden2, b.kept2 - b.on2, halves);
}

void Int8Network::read_bottleneck(Int8Arrays &arrays, Int8Block &b) {
  b.byte = *arrays.floats.take(1);
  b.from_factor = int16_t(lrintf(*arrays.floats.take(1)));
  b.word = *arrays.floats.take(1);
  b.to_factor = 0;
  b.rows = in_lines(arrays.weights.take(b.in * b.kept), b.kept, b.in, 1);
  b.rows_scale = copied(arrays.floats.take(b.kept), b.kept, b.kept + 1);
  b.rows_bias = copied(arrays.floats.take(b.kept), b.kept, b.kept + 1);
  const int8_t *middle = arrays.weights.take(9 * b.kept * b.kept2);
  b.middle = in_lines(middle, b.kept2, b.kept, 9);
  b.middle_scale = copied(arrays.floats.take(b.kept2), b.kept2, b.kept2 + 1);
  b.middle_bias = copied(arrays.floats.take(b.kept2), b.kept2, b.kept2 + 1);
  b.columns = packed_columns(arrays.weights.take(b.kept2 * b.out), b.out, b.kept2, 1);
  b.columns_scale = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
  b.columns_bias = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
  if (b.downsample) read_shortcut(arrays, b);
  read_gates(arrays, b);
  if (!b.hidden) pack_all(int8_, b.rows, b.kept, lines(b.in), everything_, b.fixed_rows);
  if (!b.hidden && !b.hidden2) {
    const int64_t channels = rounded(b.kept, 4);
    const Reading how = reading_of(b, channels, (b.kept2 + 15) / 16, b.stride == 1);
    pack_all(int8_, packed_kernels(middle, b.kept2, b.kept, channels, how), b.kept2, how.count(),
             everything_, b.fixed_middle);
  }
  if (!b.hidden2) fix_columns(b, {Way::gathered, rounded(b.kept2, 4) / 4}, 1, b.kept2);
}

void Int8Network::read_block(Int8Arrays &arrays, Int8Block &b) {
  b.byte = *arrays.floats.take(1);
  b.from_factor = int16_t(lrintf(*arrays.floats.take(1)));
  b.word = *arrays.floats.take(1);
  b.to_factor = 0;
  const int8_t *first = arrays.weights.take(9 * b.in * b.kept);
  b.rows = packed_kernels(first, b.kept, b.in, b.from.channels, b.reading);
  b.rows_scale = copied(arrays.floats.take(b.kept), b.kept, b.kept + 1);
  b.rows_bias = copied(arrays.floats.take(b.kept), b.kept, b.kept + 1);
  b.columns = packed_columns(arrays.weights.take(9 * b.kept * b.out), b.out, b.kept, 9);
  b.columns_scale = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
  b.columns_bias = copied(arrays.floats.take(b.out), b.out, rounded(b.out, PAIR_CHANNELS));
  if (b.downsample) read_shortcut(arrays, b);
  read_gates(arrays, b);
  if (!b.hidden || b.late) fix(b);
}

// All kept channels, packed once.
void Int8Network::fix(Int8Block &b) {
  pack_all(int8_, b.rows, b.kept, b.reading.count(), everything_, b.fixed_rows);
  fix_columns(b, reading_of(b, rounded(b.kept, 4), b.to.channels / 16, true), 9, b.kept);
}

void Int8Network::fix_columns(Int8Block &b, const Reading &how, int64_t taps, int64_t kept) {
  const int64_t bytes = 2 * how.count() * PAIR;
  b.fixed_columns = Weights(b.out_blocks() * bytes);
  for (int64_t o = 0; o < b.out_blocks(); ++o) {
    const ColumnsPacking packing = {b.columns.at(o * kept * taps * COLUMN_BLOCK), taps, kept,
                                    everything_.data(), kept, how.gathered(),
                                    b.fixed_columns.at(o * bytes)};
    int8_->pack_columns(&packing);
  }
}

void Int8Network::prepare(Int8Workspace &space) const {
  // Tiles reach beyond the last pixel of a row, copies beyond the last byte.
  int64_t widest = 16, hidden = 16, packed = 1, gathered = 1, inner = 1, inner2 = 1;
  for (const Int8Block &block : blocks_) {
    widest = std::max({widest, block.from.channels, rounded(block.kept, PAIR_CHANNELS),
                       rounded(block.kept2, PAIR_CHANNELS), rounded(block.out, PAIR_CHANNELS)});
    hidden = std::max({hidden, rounded(block.hidden, 16), rounded(block.hidden2, 16)});
    const int64_t channels = rounded(block.kept, 4);
    const int64_t most = std::max(lines(9 * channels), 3 * lines(3 * channels));
    packed = std::max({packed, block.reading.count(), CACHED_PAIRS, 2 * most});
    gathered = std::max(gathered, block.pixels() * lines(9 * channels));
    inner = std::max(inner, int64_t((block.bottleneck() ? block.from : block.to).pixels()) * channels);
    if (!block.bottleneck()) {
      gathered = std::max(gathered, block.pixels() * lines(9 * block.from.channels));
      continue;
    }
    packed = std::max({packed, lines(block.from.channels), 2 * lines(block.kept2)});
    inner2 = std::max(inner2, int64_t(block.to.pixels()) * rounded(block.kept2, 4));
  }
  const int64_t slack = 40 * widest + 4096;
  const int64_t pitch = side_ + 2 * padding_;
  space.image = Buffer<uint32_t>((pitch + kernel_ + stack_) * pitch * stack_ + slack);
  std::fill(space.image.at(), space.image.at() + space.image.size(), nothing_);
  space.line = Bytes(3 * (side_ + 16));
  if (pooled_) space.stem = Bytes(stem_map_.values() + slack);
  space.packed = Weights(packed * PAIR);
  space.gathered = Bytes(gathered * LINE + slack);
  space.narrow.resize(maps_.size());
  space.wide.resize(maps_.size());
  for (size_t m = 0; m < maps_.size(); ++m)
    for (int64_t slot = 0; slot < slots_[m]; ++slot) {
      space.narrow[m].emplace_back(maps_[m].values() + slack);
      space.wide[m].emplace_back(maps_[m].pixels() * wide_channels(maps_[m]));
    }
  space.sums = Buffer<int32_t>(widest);
  space.pooled = Floats(widest * group_);
  space.hidden = Floats(hidden * group_);
  space.logits = Floats(widest * group_);
  for (int layer = 0; layer < convolutions() - 1; ++layer) {
    space.openings[layer].resize(group_);
    for (Opening &opening : space.openings[layer]) {
      opening.list.reserve(widest);
      opening.scale = Floats(widest);
      opening.bias = Floats(widest);
      opening.inner = Bytes((layer ? inner2 : inner) + slack);
    }
  }
  // Sixteen rows of a pair.
  if (convolutions() > 2) space.compressed = Weights((packed * 16 + 1) * LINE);
}

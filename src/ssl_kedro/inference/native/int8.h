// The gated network in int8: weights signed with a scale for each output channel,
// inputs of convolutions unsigned with a scale for each map. What blocks add up is kept as words of
// 16 bits.
#pragma once
#include "int8_tiles.h"
#include "layout.h"

// Weights of gates are read once for each image, and are more than those of open channels.
using HalfGate = GateOf<uint16_t, Int8Tiles>;
using Bytes = Buffer<uint8_t>;
using Weights = Buffer<int8_t>;
using Words = Buffer<int16_t>;

// Pairs of weights for a line that stay in the L1 cache.
constexpr int64_t CACHED_PAIRS = 16;

// A map whose rows share a border: the pixel to the right of a row is the one to the left of the
// next, so that tiles which go on over the border lose one pixel a row.
struct ByteMap {
  int64_t height = 0, width = 0, channels = 0;
  int64_t pitch() const { return width + 1; }
  size_t pixels() const { return size_t((height + 2) * pitch() + 1); }
  size_t values() const { return pixels() * channels; }
};

// Cycles that a line that is copied, and a tile of weights that is packed take, about.
constexpr int64_t COPY_COST = 6, PACKING_COST = 95;

// Of a pixel of a map in words.
inline int64_t wide_channels(const ByteMap &map) { return rounded(map.channels, PAIR_CHANNELS); }

// Arrays in the order of the layers, as Python writes them.
struct Int8Arrays {
  Reader<int8_t> weights;
  Reader<float> floats;
  static int64_t weight_count(const Shape &shape);
  static int64_t float_count(const Shape &shape);
};

// How products get the pixels under a 3x3 kernel: in the map, where three rows of three pixels
// lie together, or from a copy with all nine together, for maps too narrow for a tile. In the map
// tiles end with a row, or go on over the border to the next one, whose sums are then thrown away.
enum class Way { by_row, flat, gathered };

struct Reading {
  Way way = Way::by_row;
  int64_t quads = 0;   // of a segment
  bool gathered() const { return way == Way::gathered; }
  int64_t segments() const { return gathered() ? 1 : 3; }
  int64_t bytes() const { return (quads * 4 + LINE - 1) / LINE * LINE; }   // of a segment, whole lines
  int64_t count() const { return segments() * bytes() / LINE; }            // lines of all
};

struct Int8Block : BlockLayout<ByteMap> {
  HalfGate gates[2];
  float byte, word;         // what 1 stands for in the bytes of the input and the words of the output
  int16_t from_factor, to_factor;  // bytes for 32768 words of the input and of the output
  Reading reading;          // of conv1
  Weights rows;             // conv1: [kept][segments][lines]
  Weights middle;           // conv2 of a bottleneck: [kept2][9][lines of kept]
  Weights columns;          // the last one: [out / 64][taps][kept][64]
  Weights shortcut;         // downsample: pairs
  // As pairs, of all kept channels: where none depends on the image, and in late basic blocks.
  Weights fixed_rows, fixed_middle, fixed_columns;
  Floats rows_scale, rows_bias, middle_scale, middle_bias, columns_scale, columns_bias, shortcut_scale, shortcut_bias;
  std::vector<int32_t> flat_pixels;    // to_pixels of flat tiles: the border to the right as well
  std::vector<PixelTile> tiles[3];     // by way
  // Of a bottleneck, whose convolutions of 1x1 go by row or flat: the first in its input's places,
  // and the last.
  Way first_way, last_way;
  std::vector<PixelTile> first_tiles;
  std::vector<int32_t> first_places;
  bool bottleneck() const { return kept2 >= 0; }
  const int32_t *last_places() const {
    return (last_way == Way::flat ? flat_pixels : to_pixels).data();
  }
  int64_t out_blocks() const { return (out + COLUMN_BLOCK - 1) / COLUMN_BLOCK; }
  Share all(const Reading &how) const { return {0, int64_t(tiles[int(how.way)].size())}; }
};

// The open channels of an image in the block at hand, and what lies between two convolutions.
struct Opening {
  std::vector<int32_t> list;
  std::vector<uint64_t> bits;  // which ones these are
  Floats scale, bias;       // of the convolution before, in the order of the list
  Bytes inner;
  int64_t channels = 0;     // bytes of a pixel of it
  bool whole = false;       // all kept channels are listed, and closed ones scaled to 0
  Reading reading;          // of the convolution behind
  int64_t pairs() const { return (int64_t(list.size()) + PAIR_CHANNELS - 1) / PAIR_CHANNELS; }
};

// A convolution of chosen outputs, ...
struct ChosenRows {
  const int8_t *rows;
  const int8_t *fixed;      // as pairs, where they need not be packed, else null
  Opening &outputs;
  const Opening *inputs;    // of 3x3 where these are chosen as well, else null
};

// ... and one of chosen inputs, and so many kept ones.
struct ChosenColumns {
  const Opening &inputs;
  Reading reading;
  int64_t taps, kept;
  bool fixed;
};

// What a copy was made of.
struct Made {
  int64_t serial = -1, first = 0, last = 0;
  bool operator==(const Made &o) const {
    return serial == o.serial && first == o.first && last == o.last;
  }
};

struct Int8Workspace {
  Buffer<uint32_t> image;                // [row][column][stacked row]: a pixel's three bytes
  Bytes line, stem, gathered;
  Weights packed, compressed;
  Made gathered_of, packed_of;
  Buffer<int32_t> sums;
  Floats pooled, hidden, logits;
  std::vector<std::vector<Bytes>> narrow;  // by map and slot
  std::vector<std::vector<Words>> wide;
  std::vector<Opening> openings[2];        // by layer and slot
};

class Int8Network : public Layout<Int8Block, ByteMap> {
 public:
  Int8Network(const Shape &shape, Int8Arrays arrays, int threads, const Int8Tiles *int8);

 private:
  void begin(int) override { int8_->begin(); }
  void end(int) override { int8_->end(); }
  void samples(int thread, const Call &call, int64_t first, int64_t last) override;
  int prepare_step(int step, const Call &call, int64_t index) override;
  void do_item(int thread, int step, int item, int items, const Call &call,
               int64_t index) override;
  void finish(const Call &call, int64_t index) override;

  // Cycles of the products of a channel tile of 16.
  int64_t cost(const Int8Block &block, const Reading &how) const;
  // The cheapest reading of maps with so many channels, a multiple of 4, for so many channel tiles.
  // Flat tiles: only where both maps have rows of one pitch.
  Reading reading_of(const Int8Block &block, int64_t channels, int64_t channel_tiles,
                     bool flat) const;
  void read_stem(Int8Arrays &arrays);
  void find_places(Int8Block &block) const;
  void read_block(Int8Arrays &arrays, Int8Block &block);
  void read_bottleneck(Int8Arrays &arrays, Int8Block &block);
  void read_shortcut(Int8Arrays &arrays, Int8Block &block);
  void read_gates(Int8Arrays &arrays, Int8Block &block);
  void fix(Int8Block &block);
  void fix_columns(Int8Block &block, const Reading &how, int64_t taps, int64_t kept);
  void prepare(Int8Workspace &space) const;

  // Below, `space` holds an image in a slot, and `own` is the workspace of the thread.
  void normalise(Int8Workspace &space, Int8Workspace &own, const void *image, bool bytes, int part,
                 int parts) const;
  void convolve_stem(Int8Workspace &space, int slot, int part, int parts) const;
  void pool_stem(Int8Workspace &space, int slot, int part, int parts) const;
  void open(size_t index, Int8Workspace &space, int slot, int count, const Call &call,
            int64_t image) const;
  void pool(const Int8Block &block, Int8Workspace &space, int slot, float *means) const;
  void prepare(const Int8Block &block, Opening &opening, bool many) const;
  void clear_frame(const ByteMap &map, Opening &opening) const;
  bool cheaper_whole(const Int8Block &block, int64_t open) const;
  ProductTask reading(const Int8Block &block, Way way, Share tiles, const uint8_t *x,
                      const ByteMap &map, int64_t channels, int64_t stride, int64_t rows) const;
  void gather(ProductTask &task, Int8Workspace &own, Made of) const;
  void clear_border(const ByteMap &place, const std::vector<PixelTile> &flat, Share tiles,
                    uint8_t *map, int64_t channels) const;
  // Pairs of outputs, or blocks of 64; the task says what is read, and at which pixels.
  void row_pairs(const ChosenRows &chosen, ProductTask task, const Reading &how, Int8Workspace &own,
                 Share pairs, int64_t serial) const;
  void column_blocks(const Int8Block &block, ProductTask task, const ChosenColumns &chosen,
                     Int8Workspace &space, Int8Workspace &own, int slot, Share out_blocks,
                     int64_t serial) const;
  void rows(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
            Share pairs, Share tiles, int64_t serial) const;
  void columns(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
               Share out_blocks, Share tiles, int64_t serial) const;
  void shortcut(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
                Share out_blocks) const;
  // Of a bottleneck: which channels are open, and its convolutions. Maps of an image lie in one
  // slot, its openings in another.
  void open_both(size_t index, Int8Workspace &space, int slot, int count, const Call &call,
                 int64_t image) const;
  // Scales of its open channels, and which these are.
  void scale(const Int8Block &block, Opening &opening, int layer) const;
  void first(const Int8Block &block, const uint8_t *map, Int8Workspace &space, Int8Workspace &own,
             int at, Share pairs, Share tiles, int64_t serial) const;
  void second(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int at,
              Share pairs, Share tiles, int64_t serial) const;
  void third(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot, int at,
             Share out_blocks, Share tiles, int64_t serial) const;
  // Images in slots from `slot` on.
  void bottleneck(size_t index, Int8Workspace &space, const Call &call, int64_t image, int count,
                  int slot) const;
  void early(const Int8Block &block, Int8Workspace &space, int slot) const;
  void late(size_t index, Int8Workspace &space, const Call &call, int64_t first,
            int64_t last) const;
  void features(Int8Workspace &space, int slot, const Call &call, int64_t image) const;

  // A step of one image on all threads: groups of channels, parts of the pixels.
  struct Split {
    int64_t groups, parts;
  };
  Split split(const Int8Block &block, Int8Workspace &space, int convolution) const;
  // Tiles of pixels of the convolutions of a block.
  int64_t tiles_of(const Int8Block &block, Int8Workspace &space, int convolution) const;
  int convolutions() const { return blocks_[0].bottleneck() ? 3 : 2; }
  uint8_t *narrow(Int8Workspace &space, int map, int slot) const {
    return space.narrow[map][slots_[map] > 1 ? slot : 0].at();
  }
  int16_t *wide(Int8Workspace &space, int map, int slot) const {
    return space.wide[map][slots_[map] > 1 ? slot : 0].at();
  }
  // Early blocks have one image at a time in hand.
  Opening &opening(const Int8Block &block, Int8Workspace &space, int slot, int layer = 0) const {
    return space.openings[layer][block.late ? slot : 0];
  }

  const Int8Tiles *int8_;
  int64_t stack_;                          // rows of pixels that lie together
  uint32_t nothing_;                       // a pixel of 0 after normalisation
  Weights stem_;
  Floats stem_scale_, stem_bias_;
  std::vector<int32_t> stem_from_;
  std::vector<PixelTile> stem_tiles_;
  std::vector<int32_t> everything_;        // 0, 1, 2 ...
  std::vector<Int8Workspace> spaces_;
  int64_t serial_ = 0;                     // of steps of one image on all threads
};

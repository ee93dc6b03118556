// The gated ResNet-18 in int8: weights signed with a scale for each output channel, inputs of
// convolutions unsigned with a scale for each map. What blocks add up is kept as half floats.
#pragma once
#include "executor.h"
#include "gate.h"
#include "int8_tiles.h"
#include "memory.h"
#include "shape.h"

using Bytes = Buffer<uint8_t>;
using Weights = Buffer<int8_t>;
using Halves = Buffer<uint16_t>;

// Arrays in the order of the layers, as Python writes them.
struct Int8Arrays {
  Reader<int8_t> weights;
  Reader<float> floats;
  static int64_t weight_count(const Shape &shape);
  static int64_t float_count(const Shape &shape);
};

// How products get the pixels under a 3x3 kernel: in the map, where three rows of three pixels
// lie together, or from a copy with all nine together, for maps too narrow for a tile.
struct Reading {
  bool gathered = false;
  int64_t quads = 0;   // of a segment
  int64_t segments() const { return gathered ? 1 : 3; }
  int64_t bytes() const { return (quads * 4 + LINE - 1) / LINE * LINE; }   // of a segment, whole lines
  int64_t count() const { return segments() * bytes() / LINE; }            // lines of all
};

struct Int8Block {
  int64_t in, kept, on, out, stride, hidden, downsample;
  Gate gate;
  Map from, to;
  int source, target;       // which maps of an image it reads and writes
  float byte;               // what 1 in the input map stands for
  float inverse;            // bytes for 1.0 of the output
  Reading reading;          // of conv1
  Weights rows;             // conv1: [kept][segments][lines]
  Weights columns;          // conv2: [out / 64][kept][9][64]
  Weights shortcut;         // downsample: channel tiles
  Weights fixed_rows, fixed_columns;  // as channel tiles, where no channel depends on the image
  Floats rows_scale, rows_bias, columns_scale, columns_bias, shortcut_scale, shortcut_bias;
  std::vector<int32_t> from_pixels;    // of each output pixel: input pixel, first tap
  std::vector<int32_t> inner_pixels;   // the same of conv2
  std::vector<int32_t> to_pixels;      // of each output pixel: pixel in `to`
  std::vector<int32_t> source_pixels;  // of each input pixel: pixel in `from`
  std::vector<PixelTile> row_tiles;    // pixels of one row
  std::vector<PixelTile> even_tiles;   // any pixels
  bool late;                           // weights outweigh the maps: many images at a time
  int64_t pixels() const { return to.height * to.width; }
  int64_t out_blocks() const { return (out + COLUMN_BLOCK - 1) / COLUMN_BLOCK; }
  const std::vector<PixelTile> &tiles(const Reading &how) const {
    return how.gathered ? even_tiles : row_tiles;
  }
};

// The cheaper reading of maps with so many channels, a multiple of 4, for so many channel tiles.
Reading reading_of(const Int8Block &block, int64_t channels, int64_t channel_tiles);

// The open channels of an image in the block at hand, and what lies between the convolutions.
struct Opening {
  std::vector<int32_t> list;
  Floats scale, bias;       // of conv1, in the order of the list
  Bytes inner;
  int64_t channels = 0;     // bytes of a pixel of it
  Reading reading;          // of conv2
  int64_t channel_tiles() const { return (int64_t(list.size()) + 15) / 16; }
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
  Weights packed;
  Made gathered_of, packed_of;
  Buffer<int32_t> sums;
  Floats pooled, hidden, logits;
  std::vector<std::vector<Bytes>> narrow;  // by map and slot
  std::vector<std::vector<Halves>> wide;
  std::vector<Opening> openings;           // by slot
};

class Int8Network : public Executor {
 public:
  Int8Network(const Shape &shape, Int8Arrays arrays, int threads, const Tiles *tiles,
              const Int8Tiles *int8);

 private:
  void begin(int) override { int8_->begin(); }
  void end(int) override { int8_->end(); }
  void samples(int thread, const Call &call, int64_t first, int64_t last) override;
  int prepare_step(int step, const Call &call, int64_t index) override;
  void do_item(int thread, int step, int item, int items, const Call &call,
               int64_t index) override;
  void finish(const Call &call, int64_t index) override;

  void read_stem(Int8Arrays &arrays);
  void read_block(Int8Arrays &arrays, Int8Block &block);
  void fix(Int8Block &block);
  void prepare(Int8Workspace &space) const;

  // Below, `space` holds an image in a slot, and `own` is the workspace of the thread.
  void normalise(Int8Workspace &space, Int8Workspace &own, const void *image, bool bytes, int part,
                 int parts) const;
  void convolve_stem(Int8Workspace &space, int slot, int part, int parts) const;
  void pool_stem(Int8Workspace &space, int slot, int part, int parts) const;
  void open(size_t index, Int8Workspace &space, int slot, const Call &call, int64_t image) const;
  void read(ProductTask &task, const Int8Block &block, Int8Workspace &own, Made of) const;
  void rows(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
            Share channel_tiles, Share tiles, int64_t serial) const;
  void columns(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
               Share out_blocks, Share tiles, int64_t serial) const;
  void shortcut(const Int8Block &block, Int8Workspace &space, Int8Workspace &own, int slot,
                Share out_blocks, Share tiles) const;
  void early(const Int8Block &block, Int8Workspace &space, int slot) const;
  void late(size_t index, Int8Workspace &space, const Call &call, int64_t first,
            int64_t last) const;
  void features(Int8Workspace &space, int slot, const Call &call, int64_t image) const;

  // A step of one image on all threads: groups of channels, parts of the pixels.
  struct Split {
    int64_t groups, parts, group;
  };
  Split split(const Int8Block &block, const Opening &opening, bool second) const;
  uint8_t *narrow(Int8Workspace &space, int map, int slot) const {
    return space.narrow[map][slots_[map] > 1 ? slot : 0].at();
  }
  uint16_t *wide(Int8Workspace &space, int map, int slot) const {
    return space.wide[map][slots_[map] > 1 ? slot : 0].at();
  }
  // Early blocks have one image at a time in hand.
  Opening &opening(const Int8Block &block, Int8Workspace &space, int slot) const {
    return space.openings[block.late ? slot : 0];
  }

  const Tiles *tiles_;
  const Int8Tiles *int8_;
  int64_t kernel_, step_, padding_, pooled_, width_;
  int64_t stack_;                          // rows of pixels that lie together
  uint32_t nothing_;                       // a pixel of 0 after normalisation
  Map stem_map_;                           // before the pooling
  float stem_inverse_;
  Weights stem_;
  Floats stem_scale_, stem_bias_;
  std::vector<int32_t> stem_from_, stem_to_;
  std::vector<PixelTile> stem_tiles_;
  std::vector<Int8Block> blocks_;
  std::vector<Map> maps_;
  std::vector<int64_t> slots_;             // of each map
  std::vector<int64_t> masks_at_;          // of each block: its part of a mask row
  std::vector<int32_t> everything_;        // 0, 1, 2 ...
  std::vector<Int8Workspace> spaces_;
  int64_t serial_ = 0;                     // of steps of one image on all threads
};

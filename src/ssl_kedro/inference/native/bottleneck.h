// The gated network of bottlenecks: each channel of a map is a plane of its own (NCHW).
//
// Inputs and outputs of the 3x3 convolution are both chosen, and weights of closed channels are
// neither read nor gathered: one weight at a time is multiplied with a run of pixels.
#pragma once
#include "layout.h"
#include "stem.h"

// Rows with a column of zeros behind each, which is the left neighbour of the next one: a run of
// pixels, in whole vectors, with room for the rows above and below it.
struct Planes {
  int64_t height = 0, width = 0, channels = 0;
  int64_t pitch() const { return width + 1; }
  int64_t end() const { return height * pitch() - 1; }  // behind the last pixel of the run
  int64_t run() const { return rounded(height * pitch(), 16); }
  int64_t lead() const { return rounded(pitch() + 1, 16); }
  int64_t plane() const { return odd_lines(run() + 2 * lead()); }
  size_t values() const { return size_t(channels * plane()); }
};

// A convolution: weights [out][in][taps] where outputs are chosen, else [out / 16][in][16].
struct Rows {
  int64_t row = 0, blocked = 0;
  Floats weights, bias;
};

struct Bottleneck : BlockLayout<Planes> {
  Gate gates[2];
  Rows convolutions[3], shortcut;
  // At a stride the middle convolution reads planes of every stride-th pixel, `phases` in both
  // directions, each so many floats.
  int64_t phases, phase;
  int64_t phase_plane() const { return odd_lines(phases * phases * phase); }
  std::vector<int32_t> taps;           // of the middle convolution
};

// Of an image in hand: the open channels of the block at hand.
struct Openings {
  std::vector<int32_t> lists[2];
};

struct BottleneckWorkspace {
  Floats image, stem, map, pooled, hidden, logits;
  std::vector<std::vector<Floats>> maps;    // by map and slot
  // Behind the first convolution by source map and slot, the same as phases, ...
  std::vector<std::vector<Floats>> first, phases;
  // ... behind the second, and every stride-th pixel of the input, by slot.
  std::vector<Floats> second, picked;
  std::vector<Openings> openings;
};

class BottleneckNetwork : public Layout<Bottleneck, Planes, Map> {
 public:
  BottleneckNetwork(const Shape &shape, const float *weights, int threads, const Tiles *tiles);

 private:
  void samples(int thread, const Call &call, int64_t first, int64_t last) override;
  int prepare_step(int step, const Call &call, int64_t image) override;
  void do_item(int thread, int step, int item, int items, const Call &call,
               int64_t image) override;
  void finish(const Call &call, int64_t image) override;
  void read(const Shape &shape, const float *weights);
  void prepare(BottleneckWorkspace &space) const;
  void stem(BottleneckWorkspace &space, float *planes, int part, int parts) const;
  // Means of a block's input, which its two gates read one after the other.
  void pool(const Bottleneck &block, BottleneckWorkspace &space, const float *map) const;
  void open(size_t index, int layer, BottleneckWorkspace &space, int slot, const Call &call,
            int64_t image) const;
  // A 1x1 convolution into a map's planes.
  PlanesTask task(const Rows &rows, int to, Share places, Share pixels) const;
  // The convolutions of a block for the image in a slot: some of the channels, some pixels.
  void first(const Bottleneck &block, BottleneckWorkspace &space, const float *map, int slot,
             Share places, Share pixels) const;
  void pick(const Bottleneck &block, BottleneckWorkspace &space, const float *map, int slot,
            Share channels) const;
  void second(const Bottleneck &block, BottleneckWorkspace &space, int slot, Share places,
              Share pixels) const;
  void third(const Bottleneck &block, BottleneckWorkspace &space, const float *map, float *target,
             int slot, Share channels, Share pixels) const;
  // Images that lie in slots from `slot` on; what is between the maps lies in slots from 0 on.
  void block(size_t index, BottleneckWorkspace &space, const Call &call, int64_t image,
             int64_t count, int64_t slot) const;
  void features(BottleneckWorkspace &space, int64_t slot, const Call &call, int64_t image) const;
  // One image on all threads: outputs of a convolution, and how they are shared out.
  bool by_pixels(const Bottleneck &block, int convolution) const;
  int64_t step_of(int convolution) const {
    return convolution == 2 ? ROW_BLOCK : tiles_->rows_of_planes;
  }
  int64_t channels_of(const Bottleneck &block, int convolution) const {
    return convolution == 2 ? block.out : int64_t(spaces_[0].openings[0].lists[convolution].size());
  }
  float *map(BottleneckWorkspace &space, int map, int64_t slot) const {
    return space.maps[map][slots_[map] > 1 ? slot : 0].at(maps_[map].lead());
  }

  const Tiles *tiles_;
  Stem stem_;
  std::vector<Buffer<int32_t>> inside_;       // of each map
  std::vector<int32_t> everything_;           // 0, 1, 2 ...
  std::vector<BottleneckWorkspace> spaces_;
};

// Where the maps and blocks of a residual network lie: the same for floats and for bytes.
#pragma once
#include "executor.h"
#include "gate.h"
#include "memory.h"
#include "shape.h"

template <class Map>
struct BlockLayout {
  int64_t in, kept, on, out, stride, hidden, downsample;
  int64_t kept2, on2, hidden2;         // of a bottleneck
  Map from, to;
  int source, target;                  // which maps of an image it reads and writes
  std::vector<int32_t> from_pixels;    // of each output pixel: input pixel, first tap
  std::vector<int32_t> inner_pixels;   // the same of conv2
  std::vector<int32_t> to_pixels;      // of each output pixel: pixel in `to`
  std::vector<int32_t> source_pixels;  // of each input pixel: pixel in `from`
  bool late;                           // weights outweigh the maps: many images at a time
  int64_t pixels() const { return to.height * to.width; }

  // The places of pixels in maps with a border of one pixel.
  void find_pixels() {
    const int64_t h = to.height, w = to.width, pitch = to.pitch();
    from_pixels = pixel_places(h, w, stride, from.pitch(), 0);
    inner_pixels = pixel_places(h, w, 1, pitch, 0);
    to_pixels = pixel_places(h, w, 1, pitch, pitch + 1);
    source_pixels = pixel_places(from.height, from.width, 1, from.pitch(), from.pitch() + 1);
  }
};

// Block derives from BlockLayout<Map>; a map has height, width, channels, pitch() and values().
template <class Block, class Map, class StemMap = Map>
class Layout : public Executor {
 protected:
  // late_weights: a block with more of them is computed for many images at a time.
  Layout(const Shape &shape, int threads, int64_t late_weights)
      : Executor(threads, int((shape.pooled() ? 3 : 2) +
                              (shape.bottlenecks() ? 3 : 2) * shape.blocks())),
        kernel_(shape.kernel()), step_(shape.step()), padding_(shape.padding()),
        pooled_(shape.pooled()), width_(shape.width()) {
    side_ = shape.side();
    const int64_t stem_side = (side_ + 2 * padding_ - kernel_) / step_ + 1;
    const int64_t side = pooled_ ? (stem_side - 1) / 2 + 1 : stem_side;
    stem_map_ = {stem_side, stem_side, rounded(width_, 16)};
    stem_to_ = pixel_places(stem_side, stem_side, 1, stem_map_.pitch(), stem_map_.pitch() + 1);
    maps_.push_back({side, side, rounded(width_, 16)});
    blocks_.resize(shape.blocks());
    for (size_t b = 0; b < blocks_.size(); ++b) {
      Block &block = blocks_[b];
      lay_out(block, shape.block(int64_t(b)));
      const Shape::Block s = shape.block(int64_t(b));
      block.late = s.weights() > late_weights || (b > 0 && blocks_[b - 1].late);
      masks_at_.push_back(decided_);
      decided_ += s.dependent() + s.dependent2();
    }
    out_ = blocks_.back().out;
  }

  // How many images late blocks compute at a time: their maps, so much a value, stay in the cache.
  void group(int64_t cached, int64_t of_value) {
    slots_.assign(maps_.size(), 0);
    for (const Block &block : blocks_)
      if (block.late) slots_[block.source] = slots_[block.target] = 1;
    int64_t late = 0;
    for (size_t m = 0; m < maps_.size(); ++m)
      late += slots_[m] * of_value * int64_t(maps_[m].values());
    group_ = late ? std::clamp<int64_t>(cached / late, 1, 16) : 1;
    for (auto &slots : slots_) slots = slots ? group_ : 1;
  }

  int64_t kernel_, step_, padding_, pooled_, width_;
  StemMap stem_map_;                // before the pooling
  std::vector<int32_t> stem_to_;    // of each pixel of it: its place
  std::vector<Block> blocks_;
  std::vector<Map> maps_;
  std::vector<int64_t> slots_;      // of each map
  std::vector<int64_t> masks_at_;   // of each block: its part of a mask row

 private:
  void lay_out(Block &block, const Shape::Block &s) {
    block.in = s.in, block.kept = s.kept, block.on = s.on, block.out = s.out;
    block.stride = s.stride, block.hidden = s.hidden, block.downsample = s.downsample;
    block.kept2 = s.kept2, block.on2 = s.on2, block.hidden2 = s.hidden2;
    block.source = int(maps_.size()) - 1;
    block.from = maps_.back();
    if (block.downsample) {
      const int64_t after = (block.from.height - 1) / block.stride + 1;
      maps_.push_back({after, after, rounded(block.out, 16)});
    }
    block.to = maps_.back();
    block.target = int(maps_.size()) - 1;
  }
};

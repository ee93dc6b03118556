// The gated network of basic blocks: packed weights, geometry of the maps, memory of a thread.
#pragma once
#include "layout.h"
#include "stem.h"
#include "tiles.h"

struct Block : BlockLayout<Map> {
  Gate gate;
  Floats rows, rows_bias;                  // conv1: [kept][3][3 x in]
  Floats columns, columns_bias;            // conv2: [out block][kept][9][block]
  Floats shortcut, shortcut_bias;          // downsample: [out block][in][block]
};

// What one thread needs for the samples it has in hand.
struct Workspace {
  Floats image, stem, inner, pooled, hidden, logits;
  std::vector<std::vector<Floats>> maps;    // by map and slot
  std::vector<std::vector<int32_t>> lists;  // by slot: open channels of the block at hand
};

class Network : public Layout<Block, Map> {
 public:
  Network(const Shape &shape, const float *weights, int threads, const Tiles *tiles);
  // Floats that the weights of a shape take, of either kind of blocks.
  static int64_t floats(const Shape &shape);

 private:
  void samples(int thread, const Call &call, int64_t first, int64_t last) override;
  int prepare_step(int step, const Call &call, int64_t index) override;
  void do_item(int thread, int step, int item, int items, const Call &call,
               int64_t index) override;
  void finish(const Call &call, int64_t index) override;
  void pack(const Shape &shape, const float *weights);
  void prepare(Workspace &space) const;
  void gate(size_t index, Workspace &space, const float *map, const uint8_t *forced,
            std::vector<int32_t> &list) const;
  void rows(const Block &block, const float *map, const std::vector<int32_t> &list, float *inner,
            int64_t first, int64_t last, int64_t first_pixel, int64_t last_pixel) const;
  void columns(const Block &block, const float *map, const std::vector<int32_t> &list,
               const float *inner, float *target, int64_t out_block, int64_t first_pixel,
               int64_t last_pixel) const;
  void clear_border(const Block &block, float *inner, size_t open) const;
  void late(size_t index, Workspace &space, const Call &call, int64_t first, int64_t last) const;
  void mean(const Block &block, const float *map, float *means) const;
  void record(size_t index, const std::vector<int32_t> &list, uint8_t *masks) const;

  const Tiles *tiles_;
  Stem stem_;
  size_t inner_floats_ = 0;
  std::vector<int32_t> everything_;         // 0, 1, 2 ...
  std::vector<Workspace> spaces_;
};

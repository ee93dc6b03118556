// Who computes which images: many on each thread, or one on all threads.
#pragma once
#include <stdint.h>

#include <vector>

#include "pool.h"

class Executor {
 public:
  // images (count, 3, side, side), bytes or floats; forced and masks (count, dependent) or null.
  struct Call {
    const void *images;
    bool bytes;
    int64_t count;
    const uint8_t *forced;
    float *features;
    uint8_t *masks;
  };

  virtual ~Executor() = default;
  void run(const Call &call);

 protected:
  // steps: of one image on all threads.
  Executor(int threads, int steps) : threads_(threads), steps_(steps) {}
  int threads() const { return threads_.size(); }
  // What one image's part of a call is.
  const void *image(const Call &call, int64_t index) const;
  const uint8_t *forced(const Call &call, int64_t index) const {
    return call.forced ? call.forced + index * decided_ : nullptr;
  }
  uint8_t *masks(const Call &call, int64_t index) const {
    return call.masks ? call.masks + index * decided_ : nullptr;
  }

  virtual void begin(int thread) {}
  virtual void end(int thread) {}
  // Images first ... last - 1, at most `group_` of them.
  virtual void samples(int thread, const Call &call, int64_t first, int64_t last) = 0;
  // How many items a step has, at least 1; the first of a block is where its gate decides.
  virtual int prepare_step(int step, const Call &call, int64_t index) = 0;
  virtual void do_item(int thread, int step, int item, int items, const Call &call,
                       int64_t index) = 0;
  virtual void finish(const Call &call, int64_t index) = 0;

  int64_t side_ = 0, out_ = 0;
  int64_t decided_ = 0;  // length of a mask row: channels that depend
  int64_t group_ = 1;

 private:
  Pool threads_;
  Steps steps_;
};

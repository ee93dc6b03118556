#include "executor.h"

#include <string.h>

#include <algorithm>

const void *Executor::image(const Call &call, int64_t index) const {
  const int64_t values = 3 * side_ * side_ * index;
  if (call.bytes) return static_cast<const uint8_t *>(call.images) + values;
  return static_cast<const float *>(call.images) + values;
}

void Executor::run(const Call &call) {
  if (call.masks) memset(call.masks, 0, call.count * decided_);
  // What does not go round evenly is done by all threads together.
  const int64_t alone = threads() == 1 ? call.count : call.count / threads() * threads();
  if (alone) {
    const int64_t group = std::clamp<int64_t>(alone / threads(), 1, group_);
    std::atomic<int64_t> next{0};
    threads_.run([&](int thread) {
      begin(thread);
      for (;;) {
        const int64_t first = next.fetch_add(group);
        if (first >= alone) return end(thread);
        samples(thread, call, first, std::min(alone, first + group));
      }
    });
  }
  for (int64_t s = alone; s < call.count; ++s) {
    auto prepare = [&](int step) { return prepare_step(step, call, s); };
    steps_.reset(prepare);
    threads_.run([&](int thread) {
      begin(thread);
      steps_.run(prepare, [&](int step, int item, int items) {
        do_item(thread, step, item, items, call, s);
      });
      end(thread);
    });
    finish(call, s);
  }
}

// A fixed set of threads that run one function together, and a barrier between its phases.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Waiting for something that another thread does within microseconds: spins at first, then
// lets others run, since that thread may be waiting for this one's core.
template <class Ready>
inline bool spin(Ready ready, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    if (ready()) return true;
#if defined(__x86_64__)
    _mm_pause();
#endif
  }
  return ready();
}

// A flag that others wait for: they spin at first and then sleep, so that a thread that has lost
// its core can be given theirs.
class Signal {
 public:
  template <class Ready>
  void wait(Ready ready) {
    if (spin(ready, 5000)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    ++sleepers_;
    changed_.wait(lock, ready);
    --sleepers_;
  }

  // Changes what is waited for and wakes those that sleep.
  template <class Change>
  void change(Change action) {
    bool wake;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      action();
      wake = sleepers_ > 0;
    }
    if (wake) changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int sleepers_ = 0;
};

// Threads that help with a job if they get a core in time: nobody waits for one that has not
// begun.
class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
  }

  ~Pool() {
    call_.change([this] { stopped_ = true, ++round_; });
    for (auto &worker : workers_) worker.join();
  }

  int size() const { return threads_; }

  // Runs job(0) here and job(1) ... job(size - 1) on those threads that come while it runs;
  // returns when all that came are done. The job shares out its work itself.
  void run(const std::function<void(int)> &job) {
    if (threads_ == 1) return job(0);
    call_.change([&] { job_ = &job, open_ = true, ++round_; });
    job(0);
    call_.change([this] { open_ = false; });
    end_.wait([this] { return active_.load() == 0; });
  }

 private:
  void work(int thread) {
    unsigned seen = 0;
    for (;;) {
      call_.wait([&] { return round_.load() != seen; });
      const std::function<void(int)> *job = nullptr;
      call_.change([&] {
        seen = round_;
        if (open_) job = job_, ++active_;
      });
      if (stopped_) return;
      if (!job) continue;
      (*job)(thread);
      end_.change([this] { --active_; });
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  Signal call_, end_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> active_{0};
  std::atomic<bool> stopped_{false};
  bool open_ = false;
  const std::function<void(int)> *job_ = nullptr;
};

// Steps that follow each other, each of items that any thread may take. Whoever ends the last
// item of a step prepares the next one.
class Steps {
 public:
  explicit Steps(int count) : taken_(count), done_(count), items_(count), count_(count) {}

  int count() const { return count_; }

  // Before the threads start: prepare(step) returns how many items a step has, at least 1.
  template <class Prepare>
  void reset(Prepare prepare) {
    for (int s = 0; s < count_; ++s) taken_[s] = 0, done_[s] = 0;
    items_[0] = prepare(0);
    ready_ = 0;
  }

  template <class Prepare, class Item>
  void run(Prepare prepare, Item item) {
    for (int step = 0; step < count_; ++step) {
      reached_.wait([&] { return ready_.load() >= step; });
      const int items = items_[step];
      for (int i = taken_[step]++; i < items; i = taken_[step]++) {
        item(step, i, items);
        if (++done_[step] < items) continue;
        if (step + 1 < count_) items_[step + 1] = prepare(step + 1);
        reached_.change([&] { ready_ = step + 1; });
      }
    }
    reached_.wait([this] { return ready_.load() == count_; });
  }

 private:
  std::vector<std::atomic<int>> taken_, done_;
  std::vector<int> items_;
  const int count_;
  std::atomic<int> ready_{0};
  Signal reached_;
};

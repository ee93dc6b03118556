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

class Barrier {
 public:
  explicit Barrier(int count) : count_(count) {}

  void wait() {
    if (count_ == 1) return;
    const unsigned phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    auto passed = [&] { return phase_.load(std::memory_order_acquire) != phase; };
    while (!spin(passed, 4000)) std::this_thread::yield();
  }

 private:
  const int count_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {
    for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
      round_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto &worker : workers_) worker.join();
  }

  int size() const { return threads_; }

  // Runs job(0) ... job(size - 1) together and returns when all are done.
  void run(const std::function<void(int)> &job) {
    if (threads_ == 1) return job(0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      left_.store(threads_ - 1);
      round_.fetch_add(1);
    }
    wake_.notify_all();
    job(0);
    while (!spin([this] { return left_.load(std::memory_order_acquire) == 0; }, 4000))
      std::this_thread::yield();
  }

 private:
  void work(int thread) {
    unsigned seen = 0;
    for (;;) {
      auto called = [&] { return round_.load(std::memory_order_acquire) != seen; };
      if (!spin(called, 2000)) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, called);
      }
      ++seen;
      if (stopped_) return;
      (*job_)(thread);
      left_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  const int threads_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> left_{0};
  std::atomic<bool> stopped_{false};
  const std::function<void(int)> *job_ = nullptr;
};

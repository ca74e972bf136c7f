// Splits work over XLA's own intra-op threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>

#include "xla/ffi/api/ffi.h"

namespace cnn {

// Tells the processor that a loop waits: the core's other thread gets its units, and the loop its time.
inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// n calls, which of them have been given out and how many are over.
class Calls {
 public:
  explicit Calls(int64_t n) : n_(n) {}

  // Makes calls of f until all are given out. The first exception of all is kept.
  template <class F>
  void work(const F& f) {
    for (int64_t i; (i = next_.fetch_add(1)) < n_;) {
      try {
        f(i);
      } catch (...) {
        if (!failed_.exchange(true)) error_ = std::current_exception();
      }
      if (done_.fetch_add(1) + 1 == n_) {
        std::lock_guard<std::mutex> lock(mutex_);
        all_done_.notify_one();
      }
    }
  }

  // Returns when all calls are over; throws the first exception of theirs. The last calls usually end within
  // microseconds, sooner than a sleeping thread wakes; where another process has the core, waiting must not take it.
  void wait() {
    constexpr int kSpins = 500;  // 10 to 30 microseconds
    for (int spins = 0; spins < kSpins && done_.load() < n_; spins++) pause_briefly();
    if (done_.load() < n_) {
      std::unique_lock<std::mutex> lock(mutex_);
      all_done_.wait(lock, [this] { return done_.load() == n_; });
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const int64_t n_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable all_done_;
};

// Calls f(0) … f(n - 1), in any order, on the caller's thread and those of the pool. Throws what a call throws.
//
// The caller takes part and waits only for calls that have begun, so nothing can deadlock where the pool is busy or the
// caller is itself one of its threads. A helper that comes too late finds no number left and touches nothing but the
// shared counters. What a call computes must not depend on the thread that makes it.
template <class F>
void parallel_for(xla::ffi::ThreadPool& pool, int64_t n, const F& f) {
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), n) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < n; i++) f(i);
    return;
  }
  const auto calls = std::make_shared<Calls>(n);
  try {
    for (int64_t i = 0; i < helpers; i++) pool.Schedule(std::function<void()>([calls, call = &f] { calls->work(*call); }));
  } catch (const std::bad_alloc&) {  // fewer helpers: those that have begun use f, which must outlive them
  }
  calls->work(f);
  calls->wait();
}

}  // namespace cnn

// Splits work over XLA's own intra-op threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

namespace cnn {

// Calls f(0) … f(n - 1), in any order, on the caller's thread and those of the pool.
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
  struct Counters {
    std::atomic<int64_t> next{0}, done{0};
  };
  auto counters = std::make_shared<Counters>();
  auto work = [counters, n, call = &f] {
    for (int64_t i; (i = counters->next.fetch_add(1)) < n; counters->done.fetch_add(1)) (*call)(i);
  };
  for (int64_t i = 0; i < helpers; i++) pool.Schedule(std::function<void()>(work));
  work();
  for (int spins = 0; counters->done.load() < n; spins++) {
    if (spins > 1000) std::this_thread::yield();
  }
}

}  // namespace cnn

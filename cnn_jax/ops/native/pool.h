// The largest value under a window, and where it first stands.
#pragma once

#include <cstring>

#include "images.h"
#include "tile.h"

namespace cnn {

// The taps of a window that lie inside the maps: rows [top, bottom), columns [left, right) of a window `width` wide.
struct Taps {
  int64_t top, bottom, left, right, width;
};

template <int L>
inline __attribute__((always_inline)) void pool_lanes(const float* maps, int64_t row_floats, int64_t channels, Taps taps,
                                                      const float* bias, bool rectify, float* pooled, uint8_t* codes) {
  typedef typename Vector<L>::type V;
  typedef typename Vector<L>::integers M;
  const V shift = bias ? *(const V*)bias : V{};
  V best = V{};
  M code = M{};
  for (int64_t a = taps.top; a < taps.bottom; a++) {
    for (int64_t b = taps.left; b < taps.right; b++) {
      V next = *(const V*)(maps + (a - taps.top) * row_floats + (b - taps.left) * channels);
      if (bias) next += shift;
      const M number = M{} + int32_t(a * taps.width + b);
      if (a == taps.top && b == taps.left) {
        best = next;
        code = number;
      } else {
        const M wins = ~(best >= next) & (best == best);  // NaN stays, and wins over numbers
        best = wins ? next : best;
        code = wins ? number : code;
      }
    }
  }
  if (rectify) {
    code = best > V{} ? code : M{} + int32_t(kNone);
    best = best <= V{} ? V{} : best;
  }
  *(V*)pooled = best;
  narrow<L>(code, codes);
}

// One position of the window over all channels. `maps` is where its first tap stands. `bias` is added to every value
// first, unless it is nullptr. With `rectify` what is not above zero becomes zero and has the code kNone.
inline __attribute__((always_inline)) void pool_window(const float* maps, int64_t row_floats, int64_t channels, Taps taps,
                                                       const float* bias, bool rectify, float* pooled, uint8_t* codes) {
  by_lanes<kLanes, 4, 2, 1>(channels, [&](auto lanes, int64_t c) __attribute__((always_inline)) {
    pool_lanes<lanes()>(maps + c, row_floats, channels, taps, bias ? bias + c : nullptr, rectify, pooled + c, codes + c);
  });
}

}  // namespace cnn

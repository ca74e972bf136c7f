#include "tile.h"

#include <algorithm>
#include <cstring>

namespace cnn {
namespace {

// Copies fewer than `Limit` floats, a power of two, without a loop.
template <int Limit>
inline void copy_lanes(const float* from, int lanes, float* to) {
  constexpr int part = Limit / 2;
  if (lanes & part) {
    std::memcpy(to, from, part * sizeof(float));
    from += part;
    to += part;
  }
  if constexpr (part > 1) copy_lanes<part>(from, lanes, to);
}

template <int Lanes, int Vectors, int Positions>
void compute(const Tile& tile) {
  typedef typename Vector<Lanes>::type V;
  V sum[Positions][Vectors];
  const float* at[Positions];
  for (int p = 0; p < Positions; p++) {
    at[p] = tile.source + tile.offsets[p];
    for (int v = 0; v < Vectors; v++) sum[p][v] = V{};
  }
  for (int64_t repeat = 0; repeat < tile.repeats; repeat++) {
    const float* weights = tile.weights + repeat * tile.weight_repeat;
    for (const Run* run = tile.runs; run < tile.runs + tile.run_count; run++) {
      int64_t i = repeat * tile.source_repeat + run->offset;
      for (int64_t step = 0; step < run->length; step++, i += tile.source_step, weights += tile.weight_step) {
        V w[Vectors];
        for (int v = 0; v < Vectors; v++) w[v] = ((const V*)weights)[v];
#pragma GCC unroll 28
        for (int p = 0; p < Positions; p++) {
          const float x = at[p][i];
          for (int v = 0; v < Vectors; v++) sum[p][v] += x * w[v];
        }
      }
    }
  }
#pragma GCC unroll 28
  for (int p = 0; p < Positions; p++) {
    float* out = tile.out[p];
    if (tile.lanes == Lanes * Vectors) {
      for (int v = 0; v < Vectors; v++) {
        V* to = (V*)out + v;
        *to = tile.add ? *to + sum[p][v] : sum[p][v];
      }
    } else {
      float values[Lanes * Vectors] = {};
      if (tile.add) copy_lanes<Lanes * Vectors>(out, tile.lanes, values);
      for (int v = 0; v < Vectors; v++) ((V*)values)[v] += sum[p][v];
      copy_lanes<Lanes * Vectors>(values, tile.lanes, out);
    }
  }
}

template <int Lanes, int Vectors, int... P>
constexpr Kernels make_kernels(std::integer_sequence<int, P...>) {
  return {Lanes * Vectors, int(sizeof...(P)), {nullptr, compute<Lanes, Vectors, P + 1>...}};
}

constexpr Kernels kTwo = make_kernels<kLanes, 2>(std::make_integer_sequence<int, kMaxPositions / 2>());
constexpr Kernels kOne = make_kernels<kLanes, 1>(std::make_integer_sequence<int, kMaxPositions>());
constexpr Kernels kHalf = make_kernels<kLanes / 2, 1>(std::make_integer_sequence<int, kMaxPositions>());

}  // namespace

std::vector<Block> blocks_of(int64_t channels) {
  std::vector<Block> blocks;
  for (int64_t first = 0, packed = 0; first < channels;) {
    const int64_t left = channels - first;
    const Kernels* kernels = left > kLanes ? &kTwo : left > kLanes / 2 ? &kOne : &kHalf;
    const int64_t count = std::min<int64_t>(left, kernels->width);
    blocks.push_back({first, count, packed, kernels});
    first += count;
    packed += kernels->width;
  }
  return blocks;
}

}  // namespace cnn

#include "tile.h"

#include <algorithm>
#include <cstring>

// Keeps the compiler from having a pointer of its own for each position, more than there are registers.
#define KEEP_IN_REGISTER(pointer) asm("" : "+r"(pointer))

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

// Positions of a group lie tile.spacing apart, so that one register and its multiples address all of them.
template <int Lanes, int Vectors, int Positions, int Group>
void compute(const Tile& tile) {
  typedef typename Vector<Lanes>::type V;
  constexpr int kGroups = Positions / Group;
  V sum[Positions][Vectors] = {};
  const float* at[kGroups];
  const int64_t spacing = tile.spacing;
  for (int64_t repeat = 0; repeat < tile.repeats; repeat++) {
    const float* weights = tile.weights + repeat * tile.weight_repeat;
    for (const Run* run = tile.runs; run < tile.runs + tile.run_count; run++) {
      const float* source = tile.source + repeat * tile.source_repeat + run->offset;
      for (int g = 0; g < kGroups; g++) at[g] = source + tile.offsets[g * Group];
      for (int64_t step = 0; step < run->length; step++, weights += tile.weight_step) {
        V w[Vectors];
        for (int v = 0; v < Vectors; v++) w[v] = ((const V*)weights)[v];
#pragma GCC unroll 28
        for (int g = 0; g < kGroups; g++) {
          KEEP_IN_REGISTER(at[g]);
#pragma GCC unroll 4
          for (int k = 0; k < Group; k++) {
            const float x = at[g][k * spacing];
            for (int v = 0; v < Vectors; v++) sum[g * Group + k][v] += x * w[v];
          }
          at[g] += tile.source_step;
        }
      }
    }
  }
#pragma GCC unroll 28
  for (int p = 0; p < Positions; p++) {
    float* out = tile.out + tile.places[p];
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

template <int Lanes, int Vectors, int Group, int... N>
constexpr Kernels::Variant variant(std::integer_sequence<int, N...>) {
  return {Group, Group * int(sizeof...(N)), {compute<Lanes, Vectors, Group*(N + 1), Group>...}};
}

// A group may not make the largest tile smaller. Without groups a position needs a register, of which there are fewer than
// sums.
template <int Lanes, int Vectors>
constexpr Kernels kernels() {
  constexpr int most = kSums / Vectors, group = most % 4 ? 2 : 4;
  return {Lanes * Vectors,
          {variant<Lanes, Vectors, group>(std::make_integer_sequence<int, most / group>()),
           variant<Lanes, Vectors, 2>(std::make_integer_sequence<int, most / 2>()),
           variant<Lanes, Vectors, 1>(std::make_integer_sequence<int, std::min(most, 14)>())}};
}

constexpr Kernels kTwo = kernels<kLanes, 2>();
constexpr Kernels kOne = kernels<kLanes, 1>();
constexpr Kernels kHalf = kernels<kLanes / 2, 1>();

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

extern "C" const char* cnn_vectors() { return cnn::kVectors; }

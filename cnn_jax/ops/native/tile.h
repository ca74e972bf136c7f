// The one inner loop of all convolutions: a tile of positions times a block of channels, held in registers.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace cnn {

// The kind of vectors: floats in a register, and how many registers accumulate. Of 32 a few are left for operands, of 16
// two for weights, one for a value of the source and one for a product where there is no fused multiply-add.
#if defined(__AVX512F__)
constexpr const char* kVectors = "avx512";
constexpr int kLanes = 16, kSums = 28;
#elif defined(__AVX2__)
constexpr const char* kVectors = "avx2";
constexpr int kLanes = 8, kSums = 12;
#elif defined(__aarch64__)
constexpr const char* kVectors = "neon";
constexpr int kLanes = 4, kSums = 24;
#else
constexpr const char* kVectors = "sse";
constexpr int kLanes = 4, kSums = 12;
#endif

// Vectors of the compiler's own kind (GCC, Clang). Only the alignment of one element is promised. (Typedefs: as a template
// argument such a type would lose its attributes.)
template <int Lanes>
struct Vector {
  typedef float type __attribute__((vector_size(Lanes * 4), aligned(4), may_alias));
  typedef int32_t integers __attribute__((vector_size(Lanes * 4)));
};

// Bytes to integers and back. (The compilers' own conversion of vectors goes element by element.)
template <int L>
inline typename Vector<L>::integers widen(const uint8_t* bytes) {
#if defined(__AVX512F__)
  if constexpr (L == 16) return (typename Vector<L>::integers)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)bytes));
#endif
#if defined(__AVX2__)
  if constexpr (L == 8) return (typename Vector<L>::integers)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)bytes));
#endif
  int32_t numbers[L];
  for (int l = 0; l < L; l++) numbers[l] = bytes[l];
  typename Vector<L>::integers made;
  std::memcpy(&made, numbers, sizeof made);
  return made;
}

template <int L>
inline void narrow(typename Vector<L>::integers numbers, uint8_t* bytes) {
#if defined(__AVX512F__)
  if constexpr (L == 16) return _mm_storeu_si128((__m128i*)bytes, _mm512_cvtepi32_epi8((__m512i)numbers));
#endif
#if defined(__AVX2__)
  if constexpr (L == 8) {
    const __m128i low = _mm256_castsi256_si128((__m256i)numbers), high = _mm256_extracti128_si256((__m256i)numbers, 1);
    const __m128i words = _mm_packus_epi32(low, high);
    return _mm_storel_epi64((__m128i*)bytes, _mm_packus_epi16(words, words));
  }
#endif
  int32_t each[L];
  std::memcpy(each, &numbers, sizeof each);
  for (int l = 0; l < L; l++) bytes[l] = uint8_t(each[l]);
}

// f(lanes, first channel) for channels in groups of as many as the first number says, what remains in smaller groups.
template <int Lanes, int... Fewer, class F>
inline __attribute__((always_inline)) void by_lanes(int64_t channels, const F& f, int64_t c = 0) {
  for (; c + Lanes <= channels; c += Lanes) f(std::integral_constant<int, Lanes>(), c);
  if constexpr (sizeof...(Fewer) > 0) by_lanes<Fewer...>(channels, f, c);
}

// Consecutive steps of the sum, from `offset` in the source.
struct Run {
  int64_t offset, length;
};

// out[places[p] + lane] (+)= sum over steps of source[offsets[p] + step] * weights[step][lane]. The steps are `repeats` times the
// runs in order, with the source moved on by source_repeat and the weights by weight_repeat from one time to the next.
struct Tile {
  const float* source;
  const int64_t* offsets;
  int64_t repeats, source_repeat, weight_repeat;
  const Run* runs;
  int64_t run_count, source_step;
  int64_t spacing;  // between positions of a group
  const float* weights;
  int64_t weight_step;
  float* out;
  const int64_t* places;
  int lanes;  // how many are written; the weights have a whole block
  bool add;
};

// The loops for one block width. A variant takes positions in groups that lie evenly spaced.
struct Kernels {
  struct Variant {
    int group, most;
    std::array<void (*)(const Tile&), kSums> by_groups;  // for 1, 2 … groups
  };
  int width;
  std::array<Variant, 3> variants;  // the largest groups first, last groups of one
};

// A block of channels that are computed together.
struct Block {
  int64_t first, count;  // channels
  int64_t packed;        // channels of the blocks before it, filled up to whole widths
  const Kernels* kernels;
};

// `channels` channels in blocks of two vectors; what remains in the narrowest block that holds it.
std::vector<Block> blocks_of(int64_t channels);

inline int64_t packed_width(const std::vector<Block>& blocks) {
  return blocks.empty() ? 0 : blocks.back().packed + blocks.back().kernels->width;
}

// Computes `n` positions in tiles of nearly equal size. `regular` positions after each other lie evenly spaced.
// prepare(first, count) fills in what differs from tile to tile.
template <class F>
void compute_tiles(int64_t n, int64_t regular, const Kernels& kernels, Tile& tile, const F& prepare) {
  const Kernels::Variant* variant = kernels.variants.data();
  while (regular % variant->group) variant++;
  const int64_t groups = n / variant->group, tiles = (n + variant->most - 1) / variant->most;
  for (int64_t i = 0; i < tiles; i++) {
    const int64_t first = groups * i / tiles, count = groups * (i + 1) / tiles - first;
    prepare(first * variant->group, count * variant->group);
    variant->by_groups[count - 1](tile);
  }
}

}  // namespace cnn

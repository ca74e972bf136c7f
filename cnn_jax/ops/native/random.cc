// The generator of jax.random: threefry with two words of 32 bits and 20 rounds; salmon2011parallel, 3.

#include "arrays.h"
#include "parallel.h"

namespace cnn {
namespace {

constexpr int64_t kBlock = 4096;  // numbers that one thread takes at a time
constexpr uint32_t kParity = 0x1BD11BDA;

template <int Left>
void round(uint32_t& first, uint32_t& second) {
  first += second;
  second = (second << Left | second >> (32 - Left)) ^ first;
}

// The two words of each of n counters, enciphered by a key.
void encipher(const uint32_t* key, const uint32_t* high, const uint32_t* low, int64_t n, uint32_t* first, uint32_t* second) {
  const uint32_t a = key[0], b = key[1], c = a ^ b ^ kParity;
  for (int64_t i = 0; i < n; i++) {
    uint32_t x = high[i] + a, y = low[i] + b;
    round<13>(x, y), round<15>(x, y), round<26>(x, y), round<6>(x, y);
    x += b, y += c + 1;
    round<17>(x, y), round<29>(x, y), round<16>(x, y), round<24>(x, y);
    x += c, y += a + 2;
    round<13>(x, y), round<15>(x, y), round<26>(x, y), round<6>(x, y);
    x += a, y += b + 3;
    round<17>(x, y), round<29>(x, y), round<16>(x, y), round<24>(x, y);
    x += b, y += c + 4;
    round<13>(x, y), round<15>(x, y), round<26>(x, y), round<6>(x, y);
    first[i] = x + c, second[i] = y + a + 5;
  }
}

// key (…, 2) and counters (…, 2, n): their high words, then their low ones. The result is as the counters.
ffi::Error threefry(ffi::ThreadPool pool, Words key, Words counters, ffi::Result<Words> result) {
  const Shape<1> k(key);
  const Shape<2> c(counters), r(*result);
  const Leading leading(k, c, r);
  const int64_t n = c[1], blocks = (n + kBlock - 1) / kBlock;
  parallel_for(pool, leading.count() * blocks, [&](int64_t call) {
    const int64_t i = call / blocks, start = call % blocks * kBlock, size = std::min(kBlock, n - start);
    const uint32_t* high = counters.typed_data() + leading.own(c, i) * 2 * n + start;
    uint32_t* first = result->typed_data() + i * 2 * n + start;
    encipher(key.typed_data() + leading.own(k, i) * 2, high, high + n, size, first, first + n);
  });
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(cnn_threefry, guarded(threefry),
    ffi::Ffi::Bind().Ctx<ffi::ThreadPool>().Arg<Words>().Arg<Words>().Ret<Words>());

}  // namespace cnn

// Arrays as the handlers see them: dense and row-major, most of them float32, with leading axes that vmap has added.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace cnn {

namespace ffi = xla::ffi;
using Floats = ffi::Buffer<ffi::F32>;
using Bytes = ffi::Buffer<ffi::U8>;
using Words = ffi::Buffer<ffi::U32>;
using Numbers = ffi::Span<const int64_t>;

// The handler f with its exceptions as errors of JAX: one that left the library would end the process.
template <class... Arguments>
auto guarded(ffi::Error (*f)(Arguments...)) {
  return [f](Arguments... arguments) {
    try {
      return f(arguments...);
    } catch (const std::bad_alloc&) {
      return ffi::Error(ffi::ErrorCode::kResourceExhausted, "cnn_jax: out of memory in a native operation");
    } catch (const std::exception& error) {
      return ffi::Error::Internal(std::string("cnn_jax: ") + error.what());
    }
  };
}

// The sizes of an array behind its leading axes.
template <int Rank>
struct Shape {
  int64_t size[Rank] = {};
  std::vector<int64_t> leading;

  template <class Buffer>
  explicit Shape(const Buffer& buffer) {
    auto all = buffer.dimensions();
    const size_t before = all.size() - Rank;
    leading.assign(all.begin(), all.begin() + before);
    std::copy(all.begin() + before, all.end(), size);
  }
  int64_t operator[](int axis) const { return size[axis]; }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t s : size) n *= s;
    return n;
  }
};

// What the operands of one call have in common in front: every operand has as many leading axes, each of the full size
// or of size 1, in which case its values are shared along it and nothing is copied.
class Leading {
 public:
  template <class... Shapes>
  explicit Leading(const Shapes&... shapes) {
    (widen(shapes.leading), ...);
    for (int64_t s : sizes_) count_ *= s;
  }
  int64_t count() const { return count_; }

  // Which of an operand's own arrays belongs to number i of the call.
  template <class S>
  int64_t own(const S& shape, int64_t i) const {
    int64_t index = 0, scale = 1;
    for (size_t axis = sizes_.size(); axis-- > 0;) {
      if (shape.leading[axis] > 1) {
        index += i % sizes_[axis] * scale;
        scale *= shape.leading[axis];
      }
      i /= sizes_[axis];
    }
    return index;
  }

 private:
  void widen(const std::vector<int64_t>& leading) {
    sizes_.resize(std::max(sizes_.size(), leading.size()), 1);
    for (size_t axis = 0; axis < leading.size(); axis++) {
      if (leading[axis] != 1) sizes_[axis] = leading[axis];
    }
  }
  std::vector<int64_t> sizes_;
  int64_t count_ = 1;
};

// Memory that a thread keeps from call to call; what was in it is lost when more is asked for.
class Scratch {
 public:
  float* floats(size_t n) {
    if (n > size_) {
      memory_.reset(new float[n]);
      size_ = n;
    }
    return memory_.get();
  }

 private:
  std::unique_ptr<float[]> memory_;
  size_t size_ = 0;
};

}  // namespace cnn

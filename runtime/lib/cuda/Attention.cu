// SPDX-License-Identifier: Apache-2.0
// Attention: the plain kernel, for whatever the fused one does not take and to check it against. A
// block has up to 32 query rows that share keys and values (all query heads of a group) and goes
// over the keys in chunks with a running softmax, everything in f32; wide values are cut into tiles
// of columns, each of which repeats the scores.
#include "FusedAttention.h"
#include "Rows.h"

namespace tenon::runtime::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kRows = 32;      // Queries of a block.
constexpr int kKeys = 64;      // Keys of a chunk.
constexpr int kDepth = 64;     // Elements of queries and keys held at a time.
constexpr int kColumns = 128;  // Columns of the values of a block.
constexpr int kValueKeys = 32; // Values held at a time.
// Threads lie in a grid of 8 x 16: each has 4 rows, and every 16th key or column.
constexpr int kAcross = 16;
constexpr int kRowsEach = kRows * kAcross / kThreads;
constexpr int kKeysEach = kKeys / kAcross;
constexpr int kColumnsEach = kColumns / kAcross;
// One element more per row keeps the rows of neighbouring threads in different banks.
constexpr int kPanel = kKeys * (kDepth + 1);
static_assert(kPanel >= kValueKeys * kColumns && kColumns == kThreads && kRows <= kThreads);

struct AttentionTask {
  const void *q = nullptr, *k = nullptr, *v = nullptr, *mask = nullptr, *bias = nullptr;
  void *out = nullptr;
  Type qType = Type::F32, kType = Type::F32, vType = Type::F32, outType = Type::F32,
       biasType = Type::F32;
  long long qStrides[5] = {}, kStrides[4] = {}, vStrides[4] = {}, outStrides[5] = {};
  long long maskStrides[3] = {}, biasStrides[5] = {};
  long long b = 0, s = 0, g = 0, r = 0, d = 0, t = 0, e = 0;
  long long rowTiles = 0, columnTiles = 0;
  float scale = 1;
  bool causal = false;
  long long position = 0;

  /// Keys that query i may see before masking.
  __device__ long long limit(long long i) const {
    long long keys = causal ? position + i + 1 : t;
    return keys < 0 ? 0 : keys < t ? keys : t;
  }
};

/// Where one query row lies; -1 marks a row behind the last.
struct RowPlace {
  long long q, out, mask, bias, limit;
};

__device__ inline RowPlace placeOf(const AttentionTask &task, long long row, long long b,
                                   long long g) {
  if (row >= task.s * task.r)
    return {-1, -1, 0, 0, 0};
  const long long s = quotient(row, task.r), r = row - s * task.r;
  RowPlace place;
  place.q =
      b * task.qStrides[0] + s * task.qStrides[1] + g * task.qStrides[2] + r * task.qStrides[3];
  place.out = b * task.outStrides[0] + s * task.outStrides[1] + g * task.outStrides[2] +
              r * task.outStrides[3];
  place.mask = b * task.maskStrides[0] + s * task.maskStrides[1];
  place.bias = b * task.biasStrides[0] + g * task.biasStrides[1] + r * task.biasStrides[2] +
               s * task.biasStrides[3];
  place.limit = task.limit(s);
  return place;
}

/// `kUniform`: q, k and v have type kType, which lets the loads of a thread go out together.
template <Type kType, bool kUniform> __global__ void attentionTiles(AttentionTask task) {
  __shared__ RowPlace places[kRows];
  __shared__ float queries[kRows][kDepth + 1];
  __shared__ float weights[kRows][kKeys + 1];
  __shared__ float panel[kPanel]; // Keys, then values.
  const Type qType = kUniform ? kType : task.qType, keyType = kUniform ? kType : task.kType,
             valueType = kUniform ? kType : task.vType;
  const int thread = int(threadIdx.x), across = thread % kAcross;
  const int firstRow = thread / kAcross * kRowsEach;
  const long long tasks = task.b * task.g * task.rowTiles * task.columnTiles;
  for (long long index = blockIdx.x; index < tasks; index += gridDim.x) {
    // Blocks that see the most keys begin first.
    long long rest = quotient(index, task.columnTiles);
    const long long column0 = (index - rest * task.columnTiles) * kColumns;
    const long long heads = task.b * task.g, tile = quotient(rest, heads);
    const long long head = rest - tile * heads, b = quotient(head, task.g), g = head - b * task.g;
    const long long row0 = (task.rowTiles - 1 - tile) * kRows;
    const long long lastRow = (row0 + kRows < task.s * task.r ? row0 + kRows : task.s * task.r) - 1;
    const long long seen = task.limit(quotient(lastRow, task.r));
    if (thread < kRows)
      places[thread] = placeOf(task, row0 + thread, b, g);

    float top[kRowsEach], total[kRowsEach], sums[kRowsEach][kColumnsEach];
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i) {
      top[i] = -infinity();
      total[i] = 0;
#pragma unroll
      for (int j = 0; j < kColumnsEach; ++j)
        sums[i][j] = 0;
    }

    const long long kBase = b * task.kStrides[0] + g * task.kStrides[2];
    const long long vBase = b * task.vStrides[0] + g * task.vStrides[2];
    for (long long key0 = 0; key0 < seen; key0 += kKeys) {
      float scores[kRowsEach][kKeysEach] = {};
      for (long long depth0 = 0; depth0 < task.d; depth0 += kDepth) {
        const int width = int(task.d - depth0 < kDepth ? task.d - depth0 : kDepth);
        __syncthreads();
        const int c = thread % kDepth;
        if (key0 == 0 || task.d > kDepth)
#pragma unroll 8
          for (int row = thread / kDepth; row < kRows; row += kThreads / kDepth) {
            bool present = c < width && places[row].q >= 0;
            queries[row][c] =
                present ? loadFloat(qType, task.q, places[row].q + (depth0 + c) * task.qStrides[4])
                        : 0.0f;
          }
#pragma unroll 8
        for (int key = thread / kDepth; key < kKeys; key += kThreads / kDepth) {
          bool present = c < width && key0 + key < seen;
          panel[key * (kDepth + 1) + c] = present
                                              ? loadFloat(keyType, task.k,
                                                          kBase + (key0 + key) * task.kStrides[1] +
                                                              (depth0 + c) * task.kStrides[3])
                                              : 0.0f;
        }
        __syncthreads();
#pragma unroll 4
        for (int at = 0; at < width; ++at) {
          float q[kRowsEach], k[kKeysEach];
#pragma unroll
          for (int i = 0; i < kRowsEach; ++i)
            q[i] = queries[firstRow + i][at];
#pragma unroll
          for (int j = 0; j < kKeysEach; ++j)
            k[j] = panel[(across + kAcross * j) * (kDepth + 1) + at];
#pragma unroll
          for (int i = 0; i < kRowsEach; ++i)
#pragma unroll
            for (int j = 0; j < kKeysEach; ++j)
              scores[i][j] += q[i] * k[j];
        }
      }
      __syncthreads();

#pragma unroll
      for (int i = 0; i < kRowsEach; ++i) {
        const RowPlace &place = places[firstRow + i];
        float best = -infinity();
#pragma unroll
        for (int j = 0; j < kKeysEach; ++j) {
          const long long key = key0 + across + kAcross * j;
          bool attends = key < place.limit;
          if (attends && task.mask)
            attends = static_cast<const unsigned char *>(
                          task.mask)[place.mask + key * task.maskStrides[2]] != 0;
          float score = scores[i][j] * task.scale;
          if (attends && task.bias)
            score += loadFloat(task.biasType, task.bias, place.bias + key * task.biasStrides[4]);
          scores[i][j] = attends ? score : -infinity();
          best = fmaxf(best, scores[i][j]);
        }
#pragma unroll
        for (int step = kAcross / 2; step > 0; step /= 2)
          best = fmaxf(best, __shfl_xor_sync(kAllLanes, best, step));
        const float newTop = fmaxf(top[i], best);
        const float shrink = top[i] == newTop ? 1.0f : expf(top[i] - newTop);
        float sum = 0;
#pragma unroll
        for (int j = 0; j < kKeysEach; ++j) {
          // Before the first key that a row attends to, newTop is -infinity too.
          float weight = scores[i][j] == -infinity() ? 0.0f : expf(scores[i][j] - newTop);
          weights[firstRow + i][across + kAcross * j] = weight;
          sum += weight;
        }
#pragma unroll
        for (int step = kAcross / 2; step > 0; step /= 2)
          sum += __shfl_xor_sync(kAllLanes, sum, step);
        top[i] = newTop;
        total[i] = total[i] * shrink + sum;
#pragma unroll
        for (int j = 0; j < kColumnsEach; ++j)
          sums[i][j] *= shrink;
      }

      for (int value0 = 0; value0 < kKeys && key0 + value0 < seen; value0 += kValueKeys) {
        __syncthreads();
        const long long column = column0 + thread;
#pragma unroll 8
        for (int i = 0; i < kValueKeys; ++i) {
          const long long key = key0 + value0 + i;
          bool present = key < seen && column < task.e;
          panel[i * kColumns + thread] =
              present ? loadFloat(valueType, task.v,
                                  vBase + key * task.vStrides[1] + column * task.vStrides[3])
                      : 0.0f;
        }
        __syncthreads();
#pragma unroll 4
        for (int key = 0; key < kValueKeys; ++key) {
          float weight[kRowsEach], value[kColumnsEach];
#pragma unroll
          for (int i = 0; i < kRowsEach; ++i)
            weight[i] = weights[firstRow + i][value0 + key];
#pragma unroll
          for (int j = 0; j < kColumnsEach; ++j)
            value[j] = panel[key * kColumns + across + kAcross * j];
#pragma unroll
          for (int i = 0; i < kRowsEach; ++i)
#pragma unroll
            for (int j = 0; j < kColumnsEach; ++j)
              sums[i][j] += weight[i] * value[j];
        }
      }
      // The weights are written anew before the next barrier when there is no depth to go over.
      __syncthreads();
    }

    __syncthreads();
#pragma unroll
    for (int i = 0; i < kRowsEach; ++i) {
      const RowPlace &place = places[firstRow + i];
      // A row that attends to nothing has only zeros as weights.
      const float factor = total[i] == 0 ? 0.0f : 1.0f / total[i];
#pragma unroll
      for (int j = 0; j < kColumnsEach; ++j) {
        const long long column = column0 + across + kAcross * j;
        if (place.out >= 0 && column < task.e)
          storeFloat(task.outType, task.out, place.out + column * task.outStrides[4],
                     sums[i][j] * factor);
      }
    }
    __syncthreads();
  }
}

void copyStrides(const Region &region, long long *strides) {
  if (region.data)
    std::copy(region.strides.begin(), region.strides.end(), strides);
}

class AttentionWork : public Work {
public:
  AttentionWork(const plan::Attention &op, const AttentionOperands &operands, Context &context)
      : context_(context) {
    const Region &q = operands.q, &k = operands.k, &v = operands.v, &out = operands.out;
    task_.q = q.data;
    task_.k = k.data;
    task_.v = v.data;
    task_.out = out.data;
    task_.mask = operands.mask.data;
    task_.bias = operands.bias.data;
    task_.qType = typeOf(q);
    task_.kType = typeOf(k);
    task_.vType = typeOf(v);
    task_.outType = typeOf(out);
    task_.biasType = typeOf(operands.bias);
    copyStrides(q, task_.qStrides);
    copyStrides(k, task_.kStrides);
    copyStrides(v, task_.vStrides);
    copyStrides(out, task_.outStrides);
    copyStrides(operands.mask, task_.maskStrides);
    copyStrides(operands.bias, task_.biasStrides);
    task_.b = q.sizes[0];
    task_.s = q.sizes[1];
    task_.g = q.sizes[2];
    task_.r = q.sizes[3];
    task_.d = q.sizes[4];
    task_.t = k.sizes[1];
    task_.e = v.sizes[3];
    task_.rowTiles = (task_.s * task_.r + kRows - 1) / kRows;
    task_.columnTiles = (task_.e + kColumns - 1) / kColumns;
    task_.scale = op.scale;
    task_.causal = op.causal;
    // Beyond these bounds every query sees all keys or none.
    task_.position = std::clamp<int64_t>(op.position.base, -task_.s, task_.t);
    const bool uniform = q.type == k.type && q.type == v.type;
    kernel_ = !uniform                         ? attentionTiles<Type::F32, false>
              : q.type == plan::DataType::F32  ? attentionTiles<Type::F32, true>
              : q.type == plan::DataType::BF16 ? attentionTiles<Type::BF16, true>
                                               : attentionTiles<Type::F16, true>;
  }

  void enqueue(cudaStream_t stream) override {
    const int64_t tasks = task_.b * task_.g * task_.rowTiles * task_.columnTiles;
    if (tasks > 0)
      context_.note(launch(kernel_, gridFor(tasks, 1), dim3(unsigned(kThreads)), 0, stream, task_),
                    "attention");
  }

private:
  Context &context_;
  AttentionTask task_;
  void (*kernel_)(AttentionTask) = nullptr;
};

} // namespace

PreparedWork prepare(const plan::Attention &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  AttentionOperands operands{bind(op.q),
                             bind(op.k),
                             bind(op.v),
                             bind(op.out),
                             bind.optional(op.mask),
                             bind.optional(op.bias)};
  const Region &q = operands.q, &k = operands.k, &v = operands.v, &out = operands.out;
  bind.require(q.rank() == 5 && k.rank() == 4 && v.rank() == 4 && out.rank() == 5,
               "expected q and out of 5 dimensions, k and v of 4");
  if (!bind.status().ok())
    return bind.status();
  const int64_t b = q.sizes[0], s = q.sizes[1], g = q.sizes[2], r = q.sizes[3], t = k.sizes[1];
  auto expect = [&](const Region &region, const char *name, const std::vector<int64_t> &sizes) {
    bind.require(!region.data || region.sizes == sizes, std::string("expected ") + name + " of " +
                                                            shapeText(sizes) + ", found " +
                                                            shapeText(region.sizes));
  };
  expect(k, "k", {b, t, g, q.sizes[4]});
  expect(v, "v", {b, t, g, v.sizes[3]});
  expect(out, "out", {b, s, g, r, v.sizes[3]});
  expect(operands.mask, "mask", {b, s, t});
  expect(operands.bias, "bias", {b, g, r, s, t});
  bind.require(!operands.mask.data || operands.mask.type == plan::DataType::I1,
               "expected a mask of i1");
  for (const Region *region : {&q, &k, &v, &out})
    bind.require(isFloat(region->type), std::string("expected floating-point operands, found ") +
                                            plan::name(region->type));
  if (!bind.status().ok())
    return bind.status();
  if (!context.plainAttention) {
    PreparedWork fused = fusedAttention(op, operands, context);
    if (!fused || *fused)
      return fused;
  }
  return std::unique_ptr<Work>(new AttentionWork(op, operands, context));
}

} // namespace tenon::runtime::cuda

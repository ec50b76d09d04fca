// SPDX-License-Identifier: Apache-2.0
// MatMul: gives oneDNN the main loops of the layout and loops over what is left. An operand that
// has no plain matrix layout is first copied into one; a result without a step of 1 is made in
// scratch and moved by the epilogue. A few f32 rows times transposed weights are ours.
#include "Epilogue.h"
#include "MatMulLayout.h"
#include "MatMulPrimitive.h"

#include <algorithm>
#include <cstring>

namespace tenon::runtime::cpu {
namespace {

using enum MatMulLayout::Slot;
using Slot = MatMulLayout::Slot;

/// Memory that a work owns.
struct Owned {
  std::byte *data;
  explicit Owned(int64_t bytes) : data(allocateAligned(bytes)) {}
  ~Owned() { releaseAligned(data); }
  Owned(const Owned &) = delete;
};

class MatMulWork : public Work {
public:
  explicit MatMulWork(Context &context) : context_(context) {}

  /// Decides everything. Called once.
  Status plan(const plan::MatMul &op, std::vector<Region> regions) {
    Expected<MatMulLayout> layout = MatMulLayout::make(op, std::move(regions));
    if (!layout)
      return layout.status();
    layout_ = std::move(*layout);
    empty_ = layout_.regions[C].empty();
    if (empty_)
      return Status();
    // Packing one operand may let more loops merge, so the choice is made anew.
    for (Slot slot : {A, B})
      if (!layout_.isPlain(slot))
        if (Status status = pack(slot); !status)
          return status;
    Status status = preparePrimitives(op.activation);
    if (!status && layout_.batch.sizes[0] > 1) {
      // oneDNN refuses some interleavings of batch and rows: loop over the batch ourselves.
      layout_.loops.push(layout_.batch.sizes[0], layout_.batch.strides[0]);
      layout_.batch.sizes[0] = 1;
      layout_.batch.strides[0].assign(MatMulLayout::kSlots, 0);
      status = preparePrimitives(op.activation);
    }
    if (status.ok() && hasEpilogue_)
      prepareEpilogue(op.activation);
    return status;
  }

  Status run() override {
    if (empty_)
      return Status();
    for (const std::unique_ptr<Work> &pack : packs_)
      if (Status status = pack->run(); !status)
        return status;
    NestCursor cursor(layout_.loops, 0);
    for (int64_t i = 0, n = layout_.loops.iterations(); i < n; ++i, cursor.next())
      if (Status status = runTile(cursor); !status)
        return status;
    return Status();
  }

private:
  Status runTile(const NestCursor &cursor) {
    std::byte *c = layout_.regions[C].at(cursor[C]);
    std::byte *product = tileInScratch_ ? context_.scratch.data() + tileOffset_ : c;
    const std::byte *bias =
        layout_.regions[Bias].data ? layout_.regions[Bias].at(cursor[Bias]) : nullptr;
    const std::byte *residual =
        layout_.regions[Residual].data ? layout_.regions[Residual].at(cursor[Residual]) : nullptr;
    if (fewRows_) {
      multiplyFewRows(layout_.regions[layout_.left()].at(cursor[layout_.left()]),
                      layout_.regions[layout_.right()].at(cursor[layout_.right()]),
                      reinterpret_cast<float *>(product));
    } else if (!first_) {
      // Nothing is contracted: the sum is 0.
      std::memset(product, 0, size_t(tileBytes_));
    } else {
      std::byte *scratch = context_.scratch.data() + primitiveOffset_;
      NestCursor inner(layout_.sums, 0);
      for (int64_t i = 0, n = layout_.sums.iterations(); i < n; ++i, inner.next()) {
        MatMulPrimitive *primitive = i == 0 ? first_ : next_;
        Status status = primitive->run(
            layout_.regions[layout_.left()].at(cursor[layout_.left()] + inner[layout_.left()]),
            layout_.regions[layout_.right()].at(cursor[layout_.right()] + inner[layout_.right()]),
            bias, product, scratch);
        if (!status)
          return status;
      }
    }
    if (hasEpilogue_)
      epilogue_.run(context_, Epilogue::kFloats, reinterpret_cast<const float *>(product), c, bias,
                    residual);
    return Status();
  }

  // oneDNN needs up to three times as long as the memory does when a few rows meet the transposed
  // weights of a linear layer, and this is where decoding spends its time.
  bool suitsFewRows() const {
    constexpr int64_t kFewRows = 4;
    return layout_.regions[A].type == plan::DataType::F32 && layout_.rows.sizes[0] <= kFewRows &&
           layout_.batch.sizes[0] == 1 && layout_.sums.iterations() == 1 &&
           layout_.sum.sizes[0] > 0 &&
           (layout_.sum.sizes[0] == 1 ||
            (layout_.sum.strides[0][layout_.left()] == 1 &&
             layout_.sum.strides[0][layout_.right()] == 1 &&
             layout_.columns.strides[0][layout_.right()] >= layout_.sum.sizes[0]));
  }

  void multiplyFewRows(const std::byte *rows, const std::byte *columns, float *product) const {
    const float *x = reinterpret_cast<const float *>(rows);
    const float *w = reinterpret_cast<const float *>(columns);
    const int64_t m = layout_.rows.sizes[0], n = layout_.columns.sizes[0], k = layout_.sum.sizes[0];
    const int64_t ldx = layout_.rows.strides[0][layout_.left()],
                  ldw = layout_.columns.strides[0][layout_.right()];
    const int64_t ldo = tileInScratch_ ? n : layout_.rows.strides[0][C];
    parallelFor(context_, n, m * k, [&](int, int64_t begin, int64_t end) {
      context_.rows->dotRows(x, ldx, m, w + begin * ldw, ldw, product + begin, ldo, end - begin, k);
    });
  }

  // Replaces an operand by a dense copy.
  Status pack(Slot slot) {
    Region dense = layout_.denseOf(slot);
    int64_t bytes = dense.elements() * dense.width();
    owned_.push_back(std::make_unique<Owned>(bytes));
    dense.data = owned_.back()->data;
    if (!dense.data)
      return Status(Code::Memory,
                    "cannot allocate " + std::to_string(bytes) + " bytes to copy an operand");
    workspaceBytes += bytes;
    packs_.push_back(makeCopy(layout_.regions[slot], dense, context_));
    layout_.replace(slot, std::move(dense));
    return Status();
  }

  // Decides where the product goes and creates what computes it.
  Status preparePrimitives(plan::Activation activation) {
    using plan::DataType;
    const DataType in = layout_.regions[A].type, out = layout_.regions[C].type;
    const int64_t batch = layout_.batch.sizes[0], m = layout_.rows.sizes[0],
                  n = layout_.columns.sizes[0];
    const int64_t k = layout_.sum.sizes[0];
    const bool sumsNothing = k == 0 || layout_.sums.iterations() == 0;
    const bool loopsOverSum = layout_.sums.iterations() > 1;
    const bool hasBias = layout_.regions[Bias].data, hasResidual = layout_.regions[Residual].data;
    const DataType biasType = layout_.regions[Bias].type;
    fewRows_ = suitsFewRows();
    nativeBias_ = hasBias && !fewRows_ && !sumsNothing && !loopsOverSum &&
                  (n == 1 || layout_.columns.strides[0][Bias] == 1) &&
                  layout_.rows.strides[0][Bias] == 0 && layout_.batch.strides[0][Bias] == 0 &&
                  (biasType == DataType::F32 || (biasType == in && in == DataType::BF16));
    const bool later =
        activation != plan::Activation::None || hasResidual || (hasBias && !nativeBias_);
    const bool direct = out == DataType::F32 || (out == in && !later && !loopsOverSum);
    tileInScratch_ = sumsNothing || !direct || (n > 1 && layout_.columns.strides[0][C] != 1);
    hasEpilogue_ = tileInScratch_ || later;

    scratchBytes_ = hasEpilogue_ ? paddedFloats(Epilogue::kFloats) * 4 * context_.threads : 0;
    tileBytes_ = 0;
    if (tileInScratch_) {
      tileOffset_ = scratchBytes_;
      tileBytes_ = batch * m * n * 4;
      scratchBytes_ += paddedFloats(batch * m * n) * 4;
    }
    primitiveOffset_ = scratchBytes_;
    first_ = next_ = nullptr;
    if (!sumsNothing && !fewRows_) {
      MatMulShape shape;
      shape.batch = batch;
      shape.m = m;
      shape.n = n;
      shape.k = k;
      auto steps = [&](Slot slot, const LoopNest &x, const LoopNest &y) {
        return std::array<int64_t, 3>{layout_.batch.strides[0][slot], x.strides[0][slot],
                                      y.strides[0][slot]};
      };
      shape.aStrides = steps(layout_.left(), layout_.rows, layout_.sum);
      shape.bStrides = steps(layout_.right(), layout_.sum, layout_.columns);
      shape.cStrides = tileInScratch_ ? std::array<int64_t, 3>{m * n, n, 1}
                                      : steps(C, layout_.rows, layout_.columns);
      shape.inType = in;
      shape.outType = tileInScratch_ ? DataType::F32 : out;
      shape.bias = nativeBias_;
      shape.biasType = nativeBias_ ? biasType : DataType::F32;
      Expected<MatMulPrimitive *> first = context_.primitives->get(shape);
      if (!first)
        return first.status();
      first_ = *first;
      int64_t bytes = first_->scratchBytes();
      if (loopsOverSum) {
        shape.accumulate = true;
        Expected<MatMulPrimitive *> next = context_.primitives->get(shape);
        if (!next)
          return next.status();
        next_ = *next;
        bytes = std::max(bytes, next_->scratchBytes());
      }
      scratchBytes_ += bytes;
    }
    Expected<int64_t> grown = context_.scratch.reserve(scratchBytes_);
    if (!grown)
      return grown.status();
    workspaceBytes += *grown;
    return Status();
  }

  void prepareEpilogue(plan::Activation activation) {
    epilogue_.activation = activation;
    epilogue_.resultType = layout_.regions[C].type;
    epilogue_.biasType = layout_.regions[Bias].type;
    epilogue_.residualType = layout_.regions[Residual].type;
    epilogue_.bias = layout_.regions[Bias].data && !nativeBias_;
    epilogue_.residual = layout_.regions[Residual].data;
    const int64_t m = layout_.rows.sizes[0], n = layout_.columns.sizes[0];
    auto loop = [&](LoopNest &nest, const LoopNest &main, int64_t productStep) {
      const std::vector<int64_t> &steps = main.strides[0];
      nest.operands = kEpilogueSlots;
      nest.push(main.sizes[0],
                {tileInScratch_ ? productStep : steps[C], steps[C], steps[Bias], steps[Residual]});
    };
    epilogue_.rows = LoopNest();
    epilogue_.columns = LoopNest();
    loop(epilogue_.rows, layout_.batch, m * n);
    loop(epilogue_.rows, layout_.rows, n);
    loop(epilogue_.columns, layout_.columns, 1);
    epilogue_.rows.collapse();
    // One column: steps of size-1 dimensions are 0 after merging, which reads the same element.
  }

  Context &context_;
  MatMulLayout layout_; ///< oneDNN gets its main loops, we loop over the rest.
  bool empty_ = false, fewRows_ = false;
  std::vector<std::unique_ptr<Owned>> owned_;
  std::vector<std::unique_ptr<Work>> packs_;
  MatMulPrimitive *first_ = nullptr, *next_ = nullptr; ///< Sets c, adds to c.
  bool tileInScratch_ = false, nativeBias_ = false, hasEpilogue_ = false;
  int64_t scratchBytes_ = 0, tileOffset_ = 0, tileBytes_ = 0, primitiveOffset_ = 0;
  Epilogue epilogue_;
};

} // namespace

PreparedWork prepare(const plan::MatMul &op, const Binding &binding, Context &context) {
  using plan::DataType;
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.a), bind(op.b), bind(op.c), bind.optional(op.bias),
                                 bind.optional(op.residual)};
  for (Slot slot : {Bias, Residual})
    if (regions[slot].data)
      bind.same(regions[C], regions[slot], slot == Bias ? "c and bias" : "c and residual");
  bind.require(regions[A].type == regions[B].type,
               std::string("expected a and b of one type, found ") + plan::name(regions[A].type) +
                   " and " + plan::name(regions[B].type));
  DataType in = regions[A].type, out = regions[C].type;
  bind.require(in == DataType::F32 || in == DataType::BF16,
               std::string("expected f32 or bf16, found ") + plan::name(in) +
                   "; export with --dtype f32 or bf16");
  bind.require(out == DataType::F32 || out == DataType::BF16 || out == DataType::F16,
               std::string("expected a result of f32, bf16 or f16, found ") + plan::name(out));
  bind.require(in != DataType::BF16 || context.primitives->hasBf16(),
               "bf16 needs a processor with avx512_bf16 or amx; compile with --dtype f32");
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<MatMulWork>(context);
  if (Status status = work->plan(op, std::move(regions)); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cpu

// SPDX-License-Identifier: Apache-2.0
// MatMul: gives cuBLASLt the main loops of the layout and loops over what is left. cuBLASLt is
// column-major, so it computes the transposed result: its a is our columns, its b our rows. Bias,
// residual and activation are its epilogue where it has them; else the product is made in f32 and a
// kernel of ours finishes it. An operand without a plain layout, or with contracted dimensions that
// do not merge, is first copied into one.
#include "MatMul.h"

#include "Epilogue.h"
#include "MatMulLayout.h"

#include <algorithm>

namespace tenon::runtime::cuda {
namespace {

using plan::DataType;
using Slot = MatMulLayout::Slot;
using enum MatMulLayout::Slot;

/// A matrix for cuBLASLt: `lines` run with step 1 along the contracted dimension or across it.
struct Matrix {
  bool contractedFirst = false; ///< The step of 1 is along the contracted dimension.
  int64_t ld = 1;
};

Matrix matrixOf(int64_t kept, int64_t keptStep, int64_t contracted, int64_t contractedStep) {
  // A dimension of size 1 has no step that counts.
  if (contractedStep == 1 || contracted == 1) {
    if (kept == 1)
      return {true, std::max<int64_t>(contracted, 1)};
    if (contracted > 1 || keptStep != 1)
      return {true, keptStep};
  }
  if (contracted == 1)
    return {false, std::max<int64_t>(kept, 1)};
  return {false, contractedStep};
}

int alignmentOf(const void *address, std::initializer_list<int64_t> steps, int64_t width) {
  uint64_t bits = reinterpret_cast<uint64_t>(address) | 256;
  for (int64_t step : steps)
    bits |= uint64_t(step * width);
  return int(bits & (~bits + 1));
}

class MatMulWork : public Work {
public:
  MatMulWork(Context &context, MatMulAlgorithms &algorithms)
      : context_(context), algorithms_(algorithms) {}

  Status plan(const plan::MatMul &op, std::vector<Region> regions) {
    Expected<MatMulLayout> layout = MatMulLayout::make(op, std::move(regions));
    if (!layout)
      return layout.status();
    layout_ = std::move(*layout);
    empty_ = layout_.regions[C].empty();
    if (empty_)
      return Status();
    activation_ = op.activation;
    const bool loopsOverSum = layout_.sums.iterations() > 1;
    for (Slot slot : {A, B})
      if (!layout_.isPlain(slot) || loopsOverSum)
        if (Status status = pack(slot); !status)
          return status;
    sumsNothing_ = layout_.sum.sizes[0] == 0 || layout_.sums.iterations() == 0;
    if (sumsNothing_)
      return prepareEpilogue();
    if (Status status = tryNative(); !status || product_)
      return status;
    return preparePlain();
  }

  void enqueue(cudaStream_t stream) override {
    if (empty_)
      return;
    for (const std::unique_ptr<Work> &pack : packs_)
      pack->enqueue(stream);
    NestCursor cursor(layout_.loops, 0);
    for (int64_t i = 0, n = layout_.loops.iterations(); i < n; ++i, cursor.next()) {
      std::byte *c = layout_.regions[C].at(cursor[C]);
      std::byte *product = tileInScratch_ ? context_.scratch.data() : c;
      if (sumsNothing_)
        context_.note(cudaMemsetAsync(product, 0, size_t(tileBytes_), stream), "matmul");
      else
        multiply(operandsAt(cursor, product), stream);
      if (hasEpilogue_)
        context_.note(epilogue_.enqueue(reinterpret_cast<const float *>(product), c,
                                        address(Bias, cursor), address(Residual, cursor), stream),
                      "matmul's epilogue");
    }
  }

private:
  const std::byte *address(Slot slot, const NestCursor &cursor) const {
    const Region &region = layout_.regions[slot];
    return region.data ? region.at(cursor[slot]) : nullptr;
  }

  ProductOperands operandsAt(const NestCursor &cursor, std::byte *product) const {
    ProductOperands operands;
    operands.a = address(layout_.right(), cursor);
    operands.b = address(layout_.left(), cursor);
    operands.c = native_ ? address(Residual, cursor) : nullptr;
    operands.bias = native_ ? address(Bias, cursor) : nullptr;
    operands.d = product;
    return operands;
  }

  void multiply(const ProductOperands &operands, cudaStream_t stream) {
    cublasStatus_t error = algorithms_.enqueue(*product_, operands, product_->algorithm, stream);
    if (error != CUBLAS_STATUS_SUCCESS && context_.failure.ok())
      context_.failure = statusOf(error, "matmul " + product_->key);
  }

  // A dense copy, made anew each step.
  Status pack(Slot slot) {
    Region dense = layout_.denseOf(slot);
    Expected<Allocation> memory = Allocation::make(dense.elements() * dense.width());
    if (!memory)
      return memory.status();
    workspaceBytes += memory->bytes();
    dense.data = memory->data();
    owned_.push_back(std::move(*memory));
    packs_.push_back(makeCopy(layout_.regions[slot], dense, context_));
    layout_.replace(slot, std::move(dense));
    return Status();
  }

  int64_t step(const LoopNest &nest, Slot slot) const { return nest.strides[0][size_t(slot)]; }

  // The product without what follows it; `tile` when it goes to scratch.
  ProductShape shapeOf(bool tile) const {
    const Slot rows = layout_.left(), columns = layout_.right();
    ProductShape shape;
    shape.m = layout_.columns.sizes[0];
    shape.n = layout_.rows.sizes[0];
    shape.k = layout_.sum.sizes[0];
    shape.batch = layout_.batch.sizes[0];
    Matrix a =
        matrixOf(shape.m, step(layout_.columns, columns), shape.k, step(layout_.sum, columns));
    Matrix b = matrixOf(shape.n, step(layout_.rows, rows), shape.k, step(layout_.sum, rows));
    shape.aTransposed = a.contractedFirst;
    shape.bTransposed = !b.contractedFirst;
    shape.lda = std::max(a.ld, shape.aTransposed ? shape.k : shape.m);
    shape.ldb = std::max(b.ld, shape.bTransposed ? shape.n : shape.k);
    shape.in = layout_.regions[A].type;
    shape.out = tile ? DataType::F32 : layout_.regions[C].type;
    shape.ldd = tile || shape.n == 1 ? shape.m : std::max(step(layout_.rows, C), shape.m);
    shape.aStep = step(layout_.batch, columns);
    shape.bStep = step(layout_.batch, rows);
    shape.dStep = tile ? shape.m * shape.n : step(layout_.batch, C);
    shape.tf32 = context_.tf32 && shape.in == DataType::F32;
    return shape;
  }

  // Whether cuBLASLt can write c itself: rows of step 1 that do not overlap.
  bool writesResult() const {
    const int64_t m = layout_.columns.sizes[0], n = layout_.rows.sizes[0];
    return (m == 1 || step(layout_.columns, C) == 1) && (n == 1 || step(layout_.rows, C) >= m) &&
           (m > 1 || n == 1 || step(layout_.rows, C) >= 1);
  }

  Status ask(ProductShape shape, std::byte *product) {
    NestCursor start(layout_.loops, 0);
    ProductOperands example = operandsAt(start, product);
    auto alignment = [&](const void *address, const LoopNest &kept, Slot slot, DataType type,
                         int64_t ld) {
      int64_t loops = 0;
      for (const std::vector<int64_t> &steps : layout_.loops.strides)
        loops |= steps[size_t(slot)];
      (void)kept;
      return alignmentOf(address, {ld, step(layout_.batch, slot), loops}, plan::byteWidth(type));
    };
    shape.aAlignment = alignment(example.a, layout_.columns, layout_.right(), shape.in, shape.lda);
    shape.bAlignment = alignment(example.b, layout_.rows, layout_.left(), shape.in, shape.ldb);
    shape.dAlignment =
        tileInScratch_ ? 16 : alignment(example.d, layout_.rows, C, shape.out, shape.ldd);
    if (tileInScratch_)
      shape.dAlignment = alignmentOf(nullptr, {shape.m}, 4);
    shape.cAlignment = shape.adds
                           ? alignment(example.c, layout_.rows, Residual, shape.out, shape.ldc)
                           : shape.dAlignment;
    Expected<Product *> product_found = algorithms_.get(shape, example);
    if (!product_found)
      return product_found.status();
    product_ = *product_found;
    return Status();
  }

  // Everything in one product, if cuBLASLt has the epilogue; product_ stays null otherwise.
  Status tryNative() {
    const bool bias = layout_.regions[Bias].data, residual = layout_.regions[Residual].data;
    const DataType out = layout_.regions[C].type;
    if (!writesResult())
      return Status();
    ProductShape shape = shapeOf(false);
    if (residual) {
      // It adds before the activation, the plan after.
      const Region &region = layout_.regions[Residual];
      const bool sameLayout = shape.n == 1 || step(layout_.rows, Residual) >= shape.m;
      if (activation_ != plan::Activation::None || region.type != out || !sameLayout ||
          (shape.m > 1 && step(layout_.columns, Residual) != 1))
        return Status();
      shape.adds = true;
      shape.ldc = shape.n == 1 ? shape.m : step(layout_.rows, Residual);
      shape.cStep = step(layout_.batch, Residual);
    }
    if (bias) {
      const Region &region = layout_.regions[Bias];
      if (region.type != out || (shape.m > 1 && step(layout_.columns, Bias) != 1) ||
          step(layout_.rows, Bias) != 0 || step(layout_.batch, Bias) != 0)
        return Status();
      shape.bias = true;
    }
    switch (activation_) {
    case plan::Activation::None:
      shape.epilogue = bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
      break;
    case plan::Activation::Relu:
      shape.epilogue = bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
      break;
    case plan::Activation::GeluTanh: // cuBLASLt's GELU is the approximation by tanh.
      shape.epilogue = bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
      break;
    default:
      return Status();
    }
    native_ = true;
    Status status = ask(shape, layout_.regions[C].data);
    native_ = status.ok() && product_;
    return status;
  }

  Status preparePlain() {
    if (Status status = prepareEpilogue(); !status)
      return status;
    if (Status status = ask(shapeOf(tileInScratch_),
                            tileInScratch_ ? context_.scratch.data() : layout_.regions[C].data);
        !status)
      return status;
    if (!product_)
      return Status(Code::Plan, "cuBLASLt has no algorithm for " + shapeOf(tileInScratch_).key());
    return Status();
  }

  Status prepareEpilogue() {
    const bool bias = layout_.regions[Bias].data, residual = layout_.regions[Residual].data;
    const int64_t m = layout_.columns.sizes[0], n = layout_.rows.sizes[0];
    const int64_t batch = layout_.batch.sizes[0];
    const bool later = activation_ != plan::Activation::None || bias || residual;
    tileInScratch_ =
        sumsNothing_ || !writesResult() || (later && layout_.regions[C].type != DataType::F32);
    hasEpilogue_ = tileInScratch_ || later;
    if (tileInScratch_) {
      tileBytes_ = batch * m * n * 4;
      Expected<int64_t> grown = context_.scratch.reserve(tileBytes_);
      if (!grown)
        return grown.status();
      workspaceBytes += *grown;
    }
    epilogue_.activation = activation_;
    epilogue_.resultType = layout_.regions[C].type;
    epilogue_.biasType = layout_.regions[Bias].type;
    epilogue_.residualType = layout_.regions[Residual].type;
    epilogue_.bias = bias;
    epilogue_.residual = residual;
    epilogue_.loops.operands = kEpilogueSlots;
    auto loop = [&](const LoopNest &main, int64_t productStep) {
      const std::vector<int64_t> &steps = main.strides[0];
      epilogue_.loops.push(main.sizes[0], {tileInScratch_ ? productStep : steps[C], steps[C],
                                           steps[Bias], steps[Residual]});
    };
    loop(layout_.batch, m * n);
    loop(layout_.rows, m);
    loop(layout_.columns, 1);
    return Status();
  }

  Context &context_;
  MatMulAlgorithms &algorithms_;
  MatMulLayout layout_;
  plan::Activation activation_ = plan::Activation::None;
  bool empty_ = false, sumsNothing_ = false, native_ = false;
  bool tileInScratch_ = false, hasEpilogue_ = false;
  int64_t tileBytes_ = 0;
  std::vector<Allocation> owned_;
  std::vector<std::unique_ptr<Work>> packs_;
  Product *product_ = nullptr;
  Epilogue epilogue_;
};

} // namespace

PreparedWork prepare(const plan::MatMul &op, const Binding &binding, Context &context,
                     MatMulAlgorithms &algorithms) {
  Binder bind(binding);
  std::vector<Region> regions = {bind(op.a), bind(op.b), bind(op.c), bind.optional(op.bias),
                                 bind.optional(op.residual)};
  for (Slot slot : {Bias, Residual})
    if (regions[slot].data)
      bind.same(regions[C], regions[slot], slot == Bias ? "c and bias" : "c and residual");
  bind.require(regions[A].type == regions[B].type,
               std::string("expected a and b of one type, found ") + plan::name(regions[A].type) +
                   " and " + plan::name(regions[B].type));
  for (Slot slot : {A, C})
    bind.require(plan::isFloat(regions[slot].type),
                 std::string("expected f32, bf16 or f16, found ") + plan::name(regions[slot].type));
  if (!bind.status().ok())
    return bind.status();
  auto work = std::make_unique<MatMulWork>(context, algorithms);
  if (Status status = work->plan(op, std::move(regions)); !status)
    return status;
  return std::unique_ptr<Work>(std::move(work));
}

} // namespace tenon::runtime::cuda

// SPDX-License-Identifier: Apache-2.0

#include "Padding.h"

#include "tenon/runtime/plan/Blocks.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

bool tenon::hasPadding(int64_t n, const sharding::AxisList &axes, const sharding::Mesh &mesh) {
  for (int64_t size : mesh.sizes(axes)) {
    if (n % size != 0)
      return true;
    n /= size;
  }
  return false;
}

bool tenon::hasPadding(ArrayRef<int64_t> shape, const sharding::Sharding &sharding,
                       const sharding::Mesh &mesh) {
  for (auto [n, axes] : llvm::zip_equal(shape, sharding.dims))
    if (hasPadding(n, axes, mesh))
      return true;
  return false;
}

static Padding worst(ArrayRef<Padding> operands) {
  Padding result = Padding::None;
  for (Padding padding : operands)
    result = worse(result, padding);
  return result;
}

/// Padding through a function with f(0) = 0 that keeps finite values finite.
static Padding keepsZero(Padding padding) {
  return padding == Padding::None ? Padding::Zero : padding;
}

/// Padding through a function with f(0) = 0 that may make finite values infinite.
static Padding onlyZero(Padding padding) {
  return padding == Padding::None || padding == Padding::Zero ? Padding::Zero : Padding::Unknown;
}

static Padding ofUnary(UnaryKind kind, Padding padding) {
  switch (kind) {
  case UnaryKind::Neg:
  case UnaryKind::Tanh:
  case UnaryKind::Relu:
  case UnaryKind::Gelu:
  case UnaryKind::GeluTanh:
  case UnaryKind::Silu:
  case UnaryKind::Abs:
  case UnaryKind::Erf:
  case UnaryKind::Sin:
    return keepsZero(padding);
  case UnaryKind::Sqrt:
    return padding == Padding::Zero ? Padding::Zero : Padding::Unknown;
  case UnaryKind::Exp:
    return padding == Padding::Zero ? Padding::Finite : Padding::Unknown;
  case UnaryKind::Sigmoid:
  case UnaryKind::Cos:
  case UnaryKind::Not:
    return worse(padding, Padding::Finite);
  case UnaryKind::Log:
  case UnaryKind::Rsqrt:
    return Padding::Unknown;
  }
  llvm_unreachable("all unary kinds are listed");
}

static Padding ofBinary(BinaryKind kind, Padding lhs, Padding rhs) {
  // None: this operand is broadcast along the padded dimension and holds real, finite data there.
  const bool zero = lhs == Padding::Zero || rhs == Padding::Zero;
  switch (kind) {
  case BinaryKind::Add:
  case BinaryKind::Sub:
    if (lhs == Padding::Zero && rhs == Padding::Zero)
      return Padding::Zero;
    // Two finite numbers may have no finite sum or product.
    return zero ? worse(worse(lhs, rhs), Padding::Finite) : Padding::Unknown;
  case BinaryKind::Max:
  case BinaryKind::Min:
    return lhs == Padding::Zero && rhs == Padding::Zero ? Padding::Zero
                                                        : worse(worse(lhs, rhs), Padding::Finite);
  case BinaryKind::Mul:
    return zero && worse(lhs, rhs) != Padding::Unknown ? Padding::Zero : Padding::Unknown;
  case BinaryKind::Div:
    // Division by real data keeps zero; division by padding is anything.
    return rhs == Padding::None ? keepsZero(lhs) : Padding::Unknown;
  case BinaryKind::Pow:
    return Padding::Unknown;
  case BinaryKind::And:
  case BinaryKind::Or:
    return worse(worse(lhs, rhs), Padding::Finite);
  }
  llvm_unreachable("all binary kinds are listed");
}

/// True when the value repeats its elements along a dimension of a result of this rank: where that
/// has padding, the value holds real data.
static bool repeatsAlong(Value operand, size_t dim, size_t rank) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(operand.getType()).getShape();
  const size_t missing = rank - shape.size();
  return dim < missing || shape[dim - missing] == 1;
}

static bool repeats(Value operand, ArrayRef<bool> padded) {
  for (size_t dim = 0; dim < padded.size(); ++dim)
    if (padded[dim] && repeatsAlong(operand, dim, padded.size()))
      return true;
  return false;
}

/// Padding of a binary op that would be zero if no operand were repeated. A sum needs zeros of both
/// operands, a product of one, along every dimension.
static bool staysZero(BinaryOp op, ArrayRef<Padding> operands, ArrayRef<bool> padded) {
  if (op.getKind() == BinaryKind::Div)
    return true; // Only by real data: all padding is the dividend's.
  if (op.getKind() != BinaryKind::Mul)
    return !repeats(op.getLhs(), padded) && !repeats(op.getRhs(), padded);
  auto isZero = [&](Value operand, Padding padding, size_t dim) {
    return padding == Padding::Zero && !repeatsAlong(operand, dim, padded.size());
  };
  for (size_t dim = 0; dim < padded.size(); ++dim)
    if (padded[dim] && !isZero(op.getLhs(), operands[0], dim) &&
        !isZero(op.getRhs(), operands[1], dim))
      return false;
  return true;
}

Padding tenon::paddingOf(Operation *op, ArrayRef<Padding> operands, ArrayRef<bool> padded) {
  if (!llvm::is_contained(padded, true))
    return Padding::None;
  return llvm::TypeSwitch<Operation *, Padding>(op)
      .Case<UnaryOp>([&](UnaryOp unary) { return ofUnary(unary.getKind(), operands[0]); })
      .Case<BinaryOp>([&](BinaryOp binary) {
        Padding result = ofBinary(binary.getKind(), operands[0], operands[1]);
        if (result == Padding::Zero && !staysZero(binary, operands, padded))
          return Padding::Finite;
        return result;
      })
      .Case<BroadcastOp>([&](BroadcastOp broadcast) {
        Padding result = keepsZero(operands[0]);
        return repeats(broadcast.getInput(), padded) ? worse(result, Padding::Finite) : result;
      })
      .Case<ReshapeOp, TransposeOp, SliceOp, TakeOp, RopeOp>(
          [&](Operation *) { return keepsZero(operands[0]); })
      .Case<ConvertOp>([&](ConvertOp) { return onlyZero(operands[0]); })
      .Case<ConcatOp>([&](Operation *) { return keepsZero(worst(operands)); })
      // Padding of a free dimension: a sum over products with it, zero when it is zero.
      .Case<MatMulOp>([&](Operation *) { return onlyZero(worst(operands)); })
      .Case<ConstantOp>([&](Operation *) { return Padding::Finite; })
      .Case<CompareOp>([&](Operation *) { return Padding::Finite; })
      .Case<SelectOp>(
          [&](Operation *) { return worse(worse(operands[1], operands[2]), Padding::Finite); })
      .Case<LayerNormOp, RmsNormOp, SoftmaxOp, AttentionOp, EmbeddingOp, ReduceOp>(
          [&](Operation *) { return worse(worst(operands), Padding::Finite); })
      .Default([](Operation *) { return Padding::Unknown; });
}

bool tenon::mayBeInfinite(Operation *op, ArrayRef<bool> operands) {
  if (auto constant = dyn_cast<ConstantOp>(op)) {
    if (!isa<FloatType>(constant.getValue().getElementType()))
      return false;
    return llvm::any_of(constant.getValue().getValues<APFloat>(),
                        [](const APFloat &value) { return !value.isFinite(); });
  }
  // Norms, softmax and attention take infinities in, as masks, and give none out.
  return isa<UnaryOp, BinaryOp, SelectOp, ConvertOp, BroadcastOp, ReshapeOp, TransposeOp, SliceOp,
             ConcatOp, TakeOp, ReduceOp>(op) &&
         llvm::is_contained(operands, true);
}

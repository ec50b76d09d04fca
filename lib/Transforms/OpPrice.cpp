// SPDX-License-Identifier: Apache-2.0
#include "OpPrice.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;

int64_t tenon::elementBytes(Type type) {
  return type.isInteger(1) ? 1 : type.getIntOrFloatBitWidth() / 8;
}

bool tenon::isFree(Operation *op) {
  return isa<ReshapeOp, TransposeOp, BroadcastOp, SliceOp, ConstantOp>(op);
}

static double bytesOf(RankedTensorType type) {
  return static_cast<double>(type.getNumElements()) *
         static_cast<double>(elementBytes(type.getElementType()));
}

/// Rows of a lookup that are read: as many as are asked for.
static double touchedBytes(Operation *op, unsigned operand, ArrayRef<RankedTensorType> operands,
                           ArrayRef<RankedTensorType> results) {
  const bool lookup = (isa<EmbeddingOp>(op) && operand == 1) || isa<TakeOp>(op);
  const double whole = bytesOf(operands[operand]);
  return lookup ? std::min(whole, bytesOf(results.front())) : whole;
}

static cost::MatMulShape shapeOf(MatMulOp op, ArrayRef<RankedTensorType> operands) {
  cost::MatMulShape shape;
  FailureOr<Einsum> einsum = parseEinsum(op.getEinsum());
  if (failed(einsum))
    return shape;
  for (auto [position, letter] : llvm::enumerate(einsum->lhs)) {
    const bool other = einsum->rhs.find(letter) != std::string::npos;
    const bool kept = einsum->result.find(letter) != std::string::npos;
    (other ? (kept ? shape.batch : shape.k) : shape.m) *=
        static_cast<double>(operands[0].getDimSize(position));
  }
  for (auto [position, letter] : llvm::enumerate(einsum->rhs))
    if (einsum->lhs.find(letter) == std::string::npos)
      shape.n *= static_cast<double>(operands[1].getDimSize(position));
  return shape;
}

static double expressionSeconds(StringRef text, const cost::CostModel &model) {
  double seconds = 0;
  for (StringRef word : llvm::split(text, ' '))
    seconds += model.functionSeconds(word.str());
  return seconds;
}

/// Seconds per element of the result beyond memory traffic.
static double functionSeconds(Operation *op, const cost::CostModel &model) {
  if (auto unary = dyn_cast<UnaryOp>(op))
    return model.functionSeconds(stringifyUnaryKind(unary.getKind()).str());
  if (auto binary = dyn_cast<BinaryOp>(op))
    return model.functionSeconds(stringifyBinaryKind(binary.getKind()).str());
  if (auto fused = dyn_cast<ElementwiseOp>(op))
    return expressionSeconds(fused.getExpr(), model);
  return model.functionSeconds(op->getName().stripDialect().str());
}

double tenon::opSeconds(Operation *op, ArrayRef<RankedTensorType> operands,
                        ArrayRef<RankedTensorType> results, const cost::CostModel &model) {
  if (isFree(op))
    return 0;
  double bytes = 0;
  for (unsigned i = 0; i < operands.size(); ++i)
    bytes += touchedBytes(op, i, operands, results);
  for (RankedTensorType type : results)
    bytes += bytesOf(type);
  const auto elements = static_cast<double>(results.front().getNumElements());
  const plan::DataType type = cost::dataType(elementBytes(results.front().getElementType()));
  if (auto matmul = dyn_cast<MatMulOp>(op)) {
    double seconds =
        model.matmulSeconds(shapeOf(matmul, operands), bytes,
                            cost::dataType(elementBytes(operands[0].getElementType())));
    if (matmul.getActivation() != ActivationKind::None)
      seconds +=
          elements * model.functionSeconds(stringifyActivationKind(matmul.getActivation()).str());
    return seconds;
  }
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    ArrayRef<int64_t> q = operands[0].getShape(), k = operands[1].getShape(),
                      v = operands[2].getShape();
    cost::AttentionShape shape;
    shape.heads = static_cast<double>(q[0] * q[2] * q[3]);
    shape.queries = static_cast<double>(q[1]);
    shape.keys = static_cast<double>(k[1]);
    shape.depth = static_cast<double>(q[4] + v[3]) / 2;
    shape.causal = attention.getCausal() && q[1] == k[1];
    shape.masked = static_cast<bool>(attention.getMask());
    return model.attentionSeconds(shape, bytes, type);
  }
  return model.rowSeconds(bytes, elements * functionSeconds(op, model));
}

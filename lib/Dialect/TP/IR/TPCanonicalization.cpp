// SPDX-License-Identifier: Apache-2.0
// Folders and canonicalisation of the ops that only move elements.

#include "tenon/Dialect/TP/IR/TPDialect.h"

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace tenon::tp;

/// A pinned op stays, whatever it does.
static bool isPinned(Operation *op) {
  return op->hasAttr(kShardingAttr) || op->hasAttr(kStrategyAttr);
}
static OpFoldResult inputUnlessPinned(Operation *op, bool same) {
  return same && !isPinned(op) ? op->getOperand(0) : Value();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  return inputUnlessPinned(*this, getInput().getType() == getResult().getType());
}
OpFoldResult BroadcastOp::fold(FoldAdaptor) {
  return inputUnlessPinned(*this, getInput().getType() == getResult().getType());
}
OpFoldResult SliceOp::fold(FoldAdaptor) {
  return inputUnlessPinned(*this, getInput().getType() == getResult().getType());
}
OpFoldResult TransposeOp::fold(FoldAdaptor) {
  return inputUnlessPinned(*this, llvm::is_sorted(getPermutation()));
}

namespace {

/// reshape(reshape(x)) -> reshape(x)
struct MergeReshapes : OpRewritePattern<ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ReshapeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<ReshapeOp>();
    if (!inner || isPinned(op) || isPinned(inner))
      return failure();
    rewriter.replaceOpWithNewOp<ReshapeOp>(op, op.getType(), inner.getInput());
    return success();
  }
};

/// transpose(transpose(x)) -> transpose(x)
struct MergeTransposes : OpRewritePattern<TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TransposeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<TransposeOp>();
    if (!inner || isPinned(op) || isPinned(inner))
      return failure();
    SmallVector<int64_t> permutation;
    for (int64_t dim : op.getPermutation())
      permutation.push_back(inner.getPermutation()[dim]);
    rewriter.replaceOpWithNewOp<TransposeOp>(op, op.getType(), inner.getInput(), permutation);
    return success();
  }
};

} // namespace

void ReshapeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<MergeReshapes>(context);
}
void TransposeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<MergeTransposes>(context);
}

// SPDX-License-Identifier: Apache-2.0
// tp.sdpa [b,h,s,d] -> tp.attention [b,s,g,r,d]. Queries, keys and values are computed in this form
// by the ops that make them, up to the weights' views; where that cannot be, they are moved at run
// time. The result is moved back, for raiseHeads to join.

#include "RaiseGraph.h"
#include "RaiseLayout.h"

using namespace mlir;
using namespace tenon;
using namespace tenon::tp;
using namespace tenon::raise;

namespace {

/// [b|1,h|1,s|1,t] -> [b|1,g|1,r|1,s|1,t].
Value splitHeads(OpBuilder &builder, Location loc, Value value, int64_t g, int64_t r) {
  ArrayRef<int64_t> shape = shapeOf(value);
  bool perHead = shape[1] != 1;
  return makeReshape(builder, loc, value,
                     {shape[0], perHead ? g : 1, perHead ? r : 1, shape[2], shape[3]});
}

/// 0 where true, else minus infinity: a mask that differs between heads, as a bias.
Value maskAsBias(OpBuilder &builder, Location loc, Value mask, Value bias, Type element) {
  auto scalar = [&](double number) -> Value {
    auto type = RankedTensorType::get({}, element);
    APFloat value(number);
    bool lost = false;
    value.convert(cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven,
                  &lost);
    return ConstantOp::create(builder, loc, type, DenseElementsAttr::get(type, value));
  };
  Value attended = bias ? bias : scalar(0);
  SmallVector<int64_t> shape = *broadcastShapes({shapeOf(mask), shapeOf(attended)});
  return SelectOp::create(builder, loc, RankedTensorType::get(shape, element), mask, attended,
                          scalar(-INFINITY));
}

void replace(SdpaOp op, LayoutRewriter &rewriter) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  ArrayRef<int64_t> q = shapeOf(op.getQuery());
  int64_t g = shapeOf(op.getKey())[1], r = q[1] / g;
  auto moved = [&](Value value, const Layout &layout) {
    if (rewriter.can(value, layout))
      return rewriter.make(value, layout);
    return makeReshape(builder, loc, makeTranspose(builder, loc, value, {0, 2, 1, 3}),
                       layout.resultShape());
  };
  Value query = moved(op.getQuery(),
                      Layout::split({{q[0]}, {g, r}, {q[2]}, {q[3]}}).permuted({0, 3, 1, 2, 4}));
  Value key = moved(op.getKey(), Layout::identity(shapeOf(op.getKey())).permuted({0, 2, 1, 3}));
  Value value =
      moved(op.getValue(), Layout::identity(shapeOf(op.getValue())).permuted({0, 2, 1, 3}));

  Value mask = op.getMask(), bias = op.getBias();
  if (bias)
    bias = splitHeads(builder, loc, bias, g, r);
  if (mask) {
    ArrayRef<int64_t> shape = shapeOf(mask);
    if (shape.size() == 2) {
      mask = makeReshape(builder, loc, mask, {shape[0], 1, shape[1]});
    } else if (shape[1] == 1) {
      mask = makeReshape(builder, loc, mask, {shape[0], shape[2], shape[3]});
    } else {
      bias = maskAsBias(builder, loc, splitHeads(builder, loc, mask, g, r), bias,
                        bias ? elementOf(bias) : builder.getF32Type());
      mask = {};
    }
  }
  int64_t e = shapeOf(op.getValue())[3];
  Value result =
      AttentionOp::create(builder, loc, typeWith(op.getResult(), {q[0], q[2], g, r, e}), query, key,
                          value, mask, bias, op.getScaleAttr(), op.getCausalAttr(), nullptr);
  result = makeReshape(builder, loc, result, {q[0], q[2], q[1], e});
  op.getResult().replaceAllUsesWith(makeTranspose(builder, loc, result, {0, 2, 1, 3}));
  op.erase();
}

} // namespace

void raise::raiseAttention(func::FuncOp function, WeightViews &weights) {
  LayoutRewriter rewriter(weights);
  SmallVector<SdpaOp> ops(function.getOps<SdpaOp>());
  for (SdpaOp op : ops)
    replace(op, rewriter);
  rewriter.finish(function);
  eraseDead(function);
}

// SPDX-License-Identifier: Apache-2.0
// Take: one position along a dimension. Which position is known when the op is prepared, so it
// becomes a copy, or a fill with zeros where the position lies on another rank.
#include "Fill.h"

namespace tenon::runtime::cuda {

PreparedWork prepare(const plan::Take &op, const Binding &binding, Context &context) {
  Binder bind(binding);
  Region x = bind(op.x), out = bind(op.out);
  bind.require(op.dim >= 0 && op.dim < x.rank(),
               "dimension " + std::to_string(op.dim) + " of " + shapeText(x.sizes));
  if (!bind.status().ok())
    return bind.status();
  int64_t position = op.index - op.base.base;
  int64_t rows = std::min(op.rows.base, x.sizes[op.dim]);
  x.sizes[op.dim] = 1;
  bind.same(x, out, "x at one position and out");
  if (!bind.status().ok())
    return bind.status();
  if (position < 0 || position >= rows)
    return makeFill(out, 0, context);
  x.data = x.at(position * x.strides[op.dim]);
  return makeCopy(x, out, context);
}

} // namespace tenon::runtime::cuda

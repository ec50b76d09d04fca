// SPDX-License-Identifier: Apache-2.0
#include "RandomEntries.h"

#include <random>
#include <string>

using namespace tenon;
using plan::Operand;

namespace {
class Generator {
public:
  Generator(unsigned seed, int ops) : random(seed) {
    result.mesh = {{"tp", 2, "tp"}};
    result.entries.emplace_back();
    entry().name = "forward";
    int inputs = 1 + pick(2);
    for (int i = 0; i < inputs; ++i) {
      Operand x = fresh(8 * (1 + pick(20)));
      entry().inputs.push_back(io("x" + std::to_string(i), x));
    }
    for (int i = 0; i < ops; ++i)
      addOp();
    for (size_t b = 0; b < read.size(); ++b)
      if (!read[b] && b >= entry().inputs.size())
        entry().outputs.push_back(io("y" + std::to_string(b), whole(b)));
  }

  plan::Plan result;

private:
  plan::Entry &entry() { return result.entries.front(); }
  int pick(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); }

  Operand whole(int32_t buffer) { return {buffer, {}, {entry().buffers[buffer].elements}, {1}}; }

  Operand fresh(int64_t elements) {
    plan::Buffer buffer;
    buffer.elements = elements;
    buffer.offset = -1;
    entry().buffers.push_back(buffer);
    read.push_back(false);
    return whole(entry().buffers.size() - 1);
  }

  static plan::IO io(std::string name, const Operand &x) {
    plan::IO io;
    io.name = std::move(name);
    io.buffer = x.buffer;
    io.shape = x.sizes;
    io.dimAxes.resize(1);
    return io;
  }

  /// A value made before, the whole or a part; recent ones more often.
  Operand operand() {
    int count = read.size();
    int32_t buffer = pick(2) ? count - 1 - pick(std::min(count, 4)) : pick(count);
    read[buffer] = true;
    Operand x = whole(buffer);
    if (pick(3) == 0) {
      x.sizes[0] /= 2;
      x.offset.base = pick(2) ? x.sizes[0] : 0;
    }
    return x;
  }

  void addOp() {
    Operand x = operand();
    plan::Op op;
    if (pick(3) == 0) {
      plan::Collective body;
      body.x = x;
      body.out = fresh(x.sizes[0]);
      body.axes = {0};
      op.body = body;
    } else if (pick(2)) {
      plan::Elementwise body;
      body.inputs = {x};
      body.expr = {{plan::ExprOp::Input, 0, 0}, {plan::ExprOp::Neg, 0, 0}};
      if (Operand y = operand(); y.sizes == x.sizes) {
        body.inputs.push_back(y);
        body.expr = {
            {plan::ExprOp::Input, 0, 0}, {plan::ExprOp::Input, 1, 0}, {plan::ExprOp::Add, 0, 0}};
      }
      body.out = fresh(x.sizes[0]);
      op.body = body;
    } else {
      // Into one half of a larger value, whose other half is filled.
      int64_t n = x.sizes[0];
      Operand out = fresh(2 * n), half = out, rest = out;
      half.sizes[0] = rest.sizes[0] = n;
      rest.offset.base = n;
      plan::Op fill;
      fill.body = plan::Fill{rest, 1.0, -1, {}};
      entry().ops.push_back(fill);
      op.body = plan::Copy{x, half};
    }
    entry().ops.push_back(op);
  }

  std::mt19937 random;
  std::vector<bool> read;
};
} // namespace

plan::Plan test::randomPlan(unsigned seed, int ops) { return Generator(seed, ops).result; }

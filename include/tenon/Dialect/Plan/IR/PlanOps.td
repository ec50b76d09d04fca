// SPDX-License-Identifier: Apache-2.0
// The ops of the plan dialect: containers (mesh, weights, entries, buffers, inputs and outputs), and one op per
// instruction of the runtime (runtime/include/tenon/runtime/plan/Plan.h says what each computes).
#ifndef TENON_DIALECT_PLAN_IR_PLANOPS_TD
#define TENON_DIALECT_PLAN_IR_PLANOPS_TD

include "tenon/Dialect/Plan/IR/PlanDialect.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Containers
//===----------------------------------------------------------------------===//

def Plan_MeshOp : Plan_Op<"mesh"> {
  let summary = "Names the axes of the device mesh and their sizes";
  let description = [{
    Ranks count row-major, the last axis fastest. `parents` names the user's axis of each axis.
    Constraints: (C1) one size and one parent per axis. (C2) every size is at least 1. (C3) names are distinct.
    Example: `plan.mesh ["tp.0", "tp.1"] sizes [2, 2] of ["tp", "tp"]`
  }];
  let arguments = (ins StrArrayAttr:$axes, DenseI64ArrayAttr:$sizes, StrArrayAttr:$parents);
  let assemblyFormat = "$axes `sizes` $sizes `of` $parents attr-dict";
  let hasVerifier = 1;
}

def Plan_WeightOp : Plan_Op<"weight", [Symbol]> {
  let summary = "Memory that the loader fills once per rank";
  let description = [{
    `elements` counts this rank's block with its padding. `ones` marks the scale of a norm, for random weights. Its
    parts are views of stored tensors. All entries share it.
    Constraints: (C1) at least one part. (C2) elements is not negative.
    Example: `plan.weight @w 64 : f32 [#plan.part<..>]`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$elements, TypeAttr:$type, ArrayAttr:$parts, UnitAttr:$ones);
  let assemblyFormat = "$sym_name $elements `:` $type (`ones` $ones^)? $parts attr-dict";
  let hasVerifier = 1;
}

def Plan_EntryOp : Plan_Op<"entry", [Symbol, IsolatedFromAbove, NoTerminator, SingleBlock, HasOnlyGraphRegion]> {
  let summary = "One function of the model: buffers, inputs, instructions in order, outputs";
  let description = [{
    `arena_bytes` is the memory that its buffers need, `live_bytes_bound` the largest sum of live bytes (no packing is smaller),
    both 0 before plan-assign-buffers. `events` counts the events of its records.
    Constraints: (C1) the body holds ops of this dialect only: buffers, then inputs, instructions, outputs. (C2) every
    event of a record or wait is below `events`.
    Example: `plan.entry @forward { %0 = plan.buffer 4 : <f32> .. }`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, DefaultValuedAttr<I64Attr, "0">:$arena_bytes,
                       DefaultValuedAttr<I64Attr, "0">:$live_bytes_bound, DefaultValuedAttr<I32Attr, "0">:$events,
                       DefaultValuedAttr<F64Attr, "0.0">:$predicted_us);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Plan_BufferOp : Plan_Op<"buffer"> {
  let summary = "A logical buffer in the arena";
  let description = [{
    Live from its definition (first write) to its last use. `at` is its byte offset in the arena, absent before plan-assign-buffers.
    Constraints: (C1) elements is not negative. (C2) the offset is a multiple of 64.
    Example: `%0 = plan.buffer 4096 at 128 : <f32>`
  }];
  let arguments = (ins I64Attr:$elements, OptionalAttr<I64Attr>:$offset);
  let results = (outs Plan_BufferType:$result);
  let assemblyFormat = "$elements (`at` $offset^)? attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Plan_WeightBufferOp : Plan_Op<"weight_buffer", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The buffer of a weight; instructions only read it";
  let description = [{
    Constraints: (C1) the symbol names a plan.weight of this element type.
    Example: `%0 = plan.weight_buffer @w : !plan.buffer<f32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs Plan_BufferType:$result);
  let assemblyFormat = "$weight attr-dict `:` qualified(type($result))";
}

def Plan_InputOp : Plan_Op<"input"> {
  let summary = "Fills a buffer from outside: every rank gets the whole input";
  let description = [{
    `shape` is the global shape. `range` holds the legal values of an integer input, high exclusive. `mask_rows`: every
    row (last dimension) must hold a value that is not 0.
    Constraints: (C1) the buffer holds as many elements as the shape. (C2) range has two numbers and needs integers.
    Example: `plan.input "input_ids" %0 [2, 8] range [0, 30522] : !plan.buffer<i64>`
  }];
  let arguments = (ins StrAttr:$name, Plan_BufferType:$buffer, DenseI64ArrayAttr:$shape, OptionalAttr<DenseI64ArrayAttr>:$range,
                       UnitAttr:$mask_rows);
  let assemblyFormat = "$name $buffer $shape (`range` $range^)? (`mask_rows` $mask_rows^)? attr-dict `:` qualified(type($buffer))";
  let hasVerifier = 1;
}

def Plan_OutputOp : Plan_Op<"output"> {
  let summary = "Hands out a buffer: this rank's block of an output";
  let description = [{
    `shape` is the global shape, `axes` the mesh axes over which each dimension is cut.
    Constraints: (C1) one list of axes per dimension.
    Example: `plan.output "logits" %0 [2, 30522] axes [[], ["tp"]] : !plan.buffer<f32>`
  }];
  let arguments = (ins StrAttr:$name, Plan_BufferType:$buffer, DenseI64ArrayAttr:$shape, ArrayAttr:$axes);
  let assemblyFormat = "$name $buffer $shape `axes` $axes attr-dict `:` qualified(type($buffer))";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

/// An instruction: operands in the order of the runtime's struct (reads before writes), one slice each. The operand
/// names are the roles that the text spells.
class Plan_Instruction<string mnemonic, dag operands, dag attributes = (ins), list<Trait> traits = []>
    : Plan_Op<mnemonic, traits> {
  let arguments = !con(operands, attributes, (ins ArrayAttr:$slices, DefaultValuedAttr<I32Attr, "0">:$stream,
                       OptionalAttr<StrAttr>:$layer, DefaultValuedAttr<F64Attr, "0.0">:$predicted_us));
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  // A first, unnamed element keeps the array from being empty.
  code roleNames = "{\"\"" # !interleave(!foreach(i, !range(!size(operands)), ", \"" # !getdagname(operands, i) # "\""), "") # "}";
  let extraClassDeclaration = [{
    /// Names of the operand groups, in order.
    static ::llvm::ArrayRef<::llvm::StringRef> getRoles() {
      static const ::llvm::StringRef roles[] = }] # roleNames # [{;
      return ::llvm::ArrayRef<::llvm::StringRef>(roles).drop_front();
    }
  }];
}

def Plan_MatMulOp : Plan_Instruction<"matmul",
    (ins Plan_BufferType:$a, Plan_BufferType:$b, Optional<Plan_BufferType>:$bias, Optional<Plan_BufferType>:$residual, Plan_BufferType:$c),
    (ins StrAttr:$einsum, DefaultValuedAttr<StrAttr, "\"none\"">:$activation), [AttrSizedOperandSegments]> {
  let summary = "c = activation(sum over contracted labels of a * b + bias) + residual, accumulated in f32";
  let description = [{
    `einsum` gives a letter to each dimension: in all three terms = batch, in a and b = contracted.
    Constraints: (C1) the einsum has one letter per dimension, none twice in a term, and a letter has one size. (C2) every
    letter is in two terms or three. (C3) bias and residual have c's sizes. (C4) the activation is none, gelu, gelu_tanh, silu, relu or tanh.
    Example: `plan.matmul a(%x[0, 4x8xf32]) b(%w[0, 16x8xf32]) c(%y[0, 4x16xf32]) {einsum = "mk,nk->mn"}`
  }];
}

def Plan_AttentionOp : Plan_Instruction<"attention",
    (ins Plan_BufferType:$q, Plan_BufferType:$k, Plan_BufferType:$v, Optional<Plan_BufferType>:$mask, Optional<Plan_BufferType>:$bias, Plan_BufferType:$out),
    (ins F32Attr:$scale, UnitAttr:$causal, OptionalAttr<Plan_ValueAttr>:$position), [AttrSizedOperandSegments]> {
  let summary = "softmax(scale * q k^T + bias, masked) v, with explicit KV heads";
  let description = [{
    q [b,s,g,r,d], k [b,t,g,d], v [b,t,g,e], mask i1 [b,s,t], bias f32 [b,g,r,s,t], out [b,s,g,r,e].
    `position` is that of the first query under `causal`.
    Constraints: (C1) ranks are 5, 4, 4, 3, 5, 5 and equal letters have equal sizes. (C2) position needs causal.
    Example: `plan.attention q(..) k(..) v(..) out(..) {scale = 0.125 : f32, causal}`
  }];
}

def Plan_GatherRowsOp : Plan_Instruction<"gather_rows",
    (ins Plan_BufferType:$ids, Plan_BufferType:$table, Plan_BufferType:$out), (ins Plan_ValueAttr:$base, Plan_ValueAttr:$rows)> {
  let summary = "Rows of a table by id; an id outside [base, base + rows) gives zeros";
  let description = [{
    out[i.., :] = table[ids[i..] - base, :]; table [v, row..], out [i.., row..].
    Constraints: (C1) out's sizes are those of ids followed by the row's. (C2) ids are i32 or i64.
    Example: `plan.gather_rows ids(..) table(..) out(..) {base = #plan.value<start 9 over {"tp"}>, rows = #plan.value<length 9 over {"tp"}>}`
  }];
}

def Plan_TakeOp : Plan_Instruction<"take", (ins Plan_BufferType:$x, Plan_BufferType:$out),
    (ins I32Attr:$dim, I64Attr:$index, Plan_ValueAttr:$base, Plan_ValueAttr:$rows)> {
  let summary = "One position of a dimension, which stays with size 1; zeros where this rank does not own it";
  let description = [{
    Position index - base of `dim`, or zeros when that lies outside [0, rows).
    Constraints: (C1) dim is inside the rank and out has x's sizes with 1 there.
    Example: `plan.take x(..) out(..) {dim = 1 : i32, index = 7 : i64, base = #plan.value<0>, rows = #plan.value<8>}`
  }];
}

def Plan_NormOp : Plan_Instruction<"norm",
    (ins Plan_BufferType:$x, Optional<Plan_BufferType>:$scale, Optional<Plan_BufferType>:$bias, Optional<Plan_BufferType>:$residual,
         Plan_BufferType:$out, Optional<Plan_BufferType>:$sum),
    (ins StrAttr:$kind, I32Attr:$dims, F32Attr:$eps, UnitAttr:$rounded), [AttrSizedOperandSegments]> {
  let summary = "Layer norm or RMS norm over the last dimensions, statistics in f32";
  let description = [{
    With `residual`, x + residual is normalised, and the sum is written to `sum` if given. With `rounded`, the
    normalised value is rounded to out's type before it meets scale and bias.
    Constraints: (C1) kind is layer or rms. (C2) dims is between 1 and the rank. (C3) all operands have x's sizes. (C4) sum needs residual.
    Example: `plan.norm x(..) scale(..) out(..) {kind = "rms", dims = 1 : i32, eps = 1.0e-6 : f32}`
  }];
}

def Plan_RopeOp : Plan_Instruction<"rope",
    (ins Plan_BufferType:$x, Plan_BufferType:$positions, Plan_BufferType:$cos, Plan_BufferType:$sin, Plan_BufferType:$out),
    (ins UnitAttr:$interleaved)> {
  let summary = "Rotary position embedding";
  let description = [{
    x [b,s,..,d], positions [b,s] integers, cos and sin f32 [capacity, rot/2].
    Constraints: (C1) out has x's sizes. (C2) positions are [b,s], and the tables have one shape of rank 2.
    Example: `plan.rope x(..) positions(..) cos(..) sin(..) out(..)`
  }];
}

def Plan_ElementwiseOp : Plan_Instruction<"elementwise", (ins Variadic<Plan_BufferType>:$input, Plan_BufferType:$out),
    (ins StrAttr:$expr)> {
  let summary = "A postfix expression over equally shaped inputs";
  let description = [{
    Terms are separated by blanks: `$0` is the first input, a number is a constant, anything else an operator.
    Constraints: (C1) the expression is well-formed and leaves one value. (C2) at most 16 operators. (C3) inputs have out's sizes.
    Example: `plan.elementwise input(%a[0, 4xf32], %b[0, 4xf32]) out(%c[0, 4xf32]) {expr = "$0 silu $1 mul"}`
  }];
}

def Plan_ReduceOp : Plan_Instruction<"reduce", (ins Plan_BufferType:$x, Plan_BufferType:$out),
    (ins StrAttr:$kind, DenseI64ArrayAttr:$dims)> {
  let summary = "Reduces dimensions, which stay with size 1";
  let description = [{
    Constraints: (C1) kind is sum, max or min. (C2) dims are sorted, distinct and inside the rank, and out has x's sizes with 1 there.
    Example: `plan.reduce x(%x[0, 4x8xf32]) out(%y[0, 4x1xf32]) {kind = "sum", dims = array<i64: 1>}`
  }];
}

def Plan_SoftmaxOp : Plan_Instruction<"softmax", (ins Plan_BufferType:$x, Plan_BufferType:$out), (ins I32Attr:$dim)> {
  let summary = "Softmax along one dimension";
  let description = [{ Constraints: (C1) dim is inside the rank and out has x's sizes. }];
}

def Plan_CopyOp : Plan_Instruction<"copy", (ins Plan_BufferType:$x, Plan_BufferType:$out)> {
  let summary = "Copies a region into another of the same sizes, casting to its type";
  let description = [{ Constraints: (C1) out has x's sizes. }];
}

def Plan_FillOp : Plan_Instruction<"fill", (ins Plan_BufferType:$out),
    (ins F64Attr:$value, DefaultValuedAttr<I32Attr, "-1">:$dim, OptionalAttr<Plan_ValueAttr>:$from)> {
  let summary = "Sets elements to a value: all of them, or those whose index along dim is from or more";
  let description = [{
    Constraints: (C1) dim is -1 or inside the rank. (C2) from is given exactly when dim is not -1.
    Example: `plan.fill out(%x[0, 4x8xf32]) {value = 0.0 : f64, dim = 1 : i32, from = #plan.value<length 30 over {"tp"}>}`
  }];
}

class Plan_CollectiveOp<string mnemonic> : Plan_Instruction<mnemonic, (ins Plan_BufferType:$x, Plan_BufferType:$out),
    (ins StrArrayAttr:$axes, DefaultValuedAttr<StrAttr, "\"sum\"">:$reduce, OptionalAttr<StrAttr>:$cause)>;

def Plan_AllReduceOp : Plan_CollectiveOp<"all_reduce"> {
  let summary = "Reduces x over the group; all get the result. May be in place";
  let description = [{
    The group: ranks that differ only on `axes`, row-major in the order given. `cause` is the choice that brought it here.
    Constraints: (C1) x and out are contiguous and of one type. (C2) n elements become n. (C3) axes are distinct, at least one; reduce is sum, max or min.
    Example: `plan.all_reduce x(%x[0, 8xf32]) out(%x[0, 8xf32]) {axes = ["tp"], stream = 1 : i32}`
  }];
}
def Plan_AllGatherOp : Plan_CollectiveOp<"all_gather"> {
  let summary = "Member i's n elements go to i*n";
  let description = [{
    Constraints: (C1) as plan.all_reduce. (C2) out is a multiple of x. (C3) as plan.all_reduce.
  }];
}
def Plan_ReduceScatterOp : Plan_CollectiveOp<"reduce_scatter"> {
  let summary = "Each member gets its block of the reduced value";
  let description = [{
    Constraints: (C1) as plan.all_reduce. (C2) x is a multiple of out. (C3) as plan.all_reduce.
  }];
}
def Plan_AllToAllOp : Plan_CollectiveOp<"all_to_all"> {
  let summary = "Block i of out is this member's block of member i's x";
  let description = [{
    Constraints: (C1) as plan.all_reduce. (C2) n elements become n. (C3) as plan.all_reduce.
  }];
}
def Plan_BroadcastOp : Plan_CollectiveOp<"broadcast"> {
  let summary = "All get member 0's x. May be in place";
  let description = [{
    Constraints: (C1) as plan.all_reduce. (C2) n elements become n. (C3) as plan.all_reduce.
  }];
}

def Plan_RecordOp : Plan_Instruction<"record", (ins), (ins I32Attr:$event)> {
  let summary = "Marks the point that this stream has reached";
  let description = [{ Constraints: (C1) event is not negative. Example: `plan.record {event = 0 : i32}` }];
}
def Plan_WaitOp : Plan_Instruction<"wait", (ins), (ins I32Attr:$event)> {
  let summary = "Holds this stream until a recorded point";
  let description = [{ Constraints: (C1) event is not negative. Example: `plan.wait {event = 0 : i32, stream = 1 : i32}` }];
}

#endif

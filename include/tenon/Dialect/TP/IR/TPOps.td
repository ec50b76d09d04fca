// SPDX-License-Identifier: Apache-2.0
// Graph ops of the tp dialect. Each op says what it means on all ranks; its sharding rule is data
// (TPShardingRules.cpp) from which strategies, shardings, local shapes and collectives follow.
#ifndef TENON_DIALECT_TP_IR_TPOPS_TD
#define TENON_DIALECT_TP_IR_TPOPS_TD

include "tenon/Dialect/TP/IR/TPDialect.td"
include "tenon/Dialect/TP/IR/TPInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def TP_Tensor : StaticShapeTensorOf<[F32, BF16, F16, I1, I32, I64]>;
def TP_FloatTensor : StaticShapeTensorOf<[F32, BF16, F16]>;
def TP_IndexTensor : StaticShapeTensorOf<[I32, I64]>;
def TP_BoolTensor : StaticShapeTensorOf<[I1]>;

class TP_Op<string mnemonic, list<Trait> traits = []> : Op<TP_Dialect, mnemonic, traits>;
/// A graph op: pure, with a sharding rule.
/// `extra` names the interface methods that the op defines beside its rule.
class TP_GraphOp<string mnemonic, list<Trait> traits = [], list<string> extra = []>
    : TP_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<ShardableOpInterface, !listconcat(["getShardingRule"], extra)>], traits)> {
  let hasVerifier = 1;
}

def TP_MeshOp : TP_Op<"mesh", [Symbol]> {
  let summary = "Names the axes of the device mesh and their sizes";
  let description = [{
    Ranks count row-major, the last axis fastest. `parents` names the user's axis of each axis; it differs
    from the axis where the compiler split one: `tp.mesh @mesh <"tp.0"=2, "tp.1"=2> of ["tp", "tp"]`.
    Constraints: (C1) every size is at least 1, at most 8 are larger, and there are at most 65536 ranks. (C2) names are
    distinct, and only parts of an axis have a dot. (C3) one parent per axis. (C4) a module has one mesh.
    Example: `tp.mesh @mesh <"node"=2, "tp"=4>`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$axes, DenseI64ArrayAttr:$sizes, StrArrayAttr:$parents);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def TP_MatMulOp : TP_GraphOp<"matmul", [AttrSizedOperandSegments], ["getFlops"]> {
  let summary = "Einsum of two tensors, accumulated in f32";
  let description = [{
    `einsum` labels every dimension with a letter: in both operands and the result = batch, in both operands only =
    contracted, in one operand and the result = free. Sums over contracted labels. From `optimized` on it
    may add `bias` and `residual` (broadcast to the result, numpy rules): act(sum + bias) + residual.
    Constraints: (C1) the einsum has two inputs with one letter per dimension and no letter twice in
    one term. (C2) a letter has one size. (C3) every letter of the result is in an operand, and every
    letter of an operand is in the result or the other operand. (C4) element types of operands are equal; the result's is
    theirs or f32.
    Example: `%y = tp.matmul "bsk,nk->bsn" %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>`
  }];
  let arguments = (ins StrAttr:$einsum, TP_FloatTensor:$lhs, TP_FloatTensor:$rhs, Optional<TP_FloatTensor>:$bias,
                       Optional<TP_FloatTensor>:$residual,
                       DefaultValuedAttr<TP_ActivationKindAttr, "::tenon::tp::ActivationKind::None">:$activation);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = [{ $einsum $lhs `,` $rhs (`bias` $bias^)? (`residual` $residual^)? attr-dict `:` functional-type(operands, results) }];
}

// UnaryOp C1
def TP_UnaryOp : TP_GraphOp<"unary", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Elementwise function of one tensor";
  let description = [{
    `gelu` is the erf form, `gelu_tanh` the tanh form. `not` is for i1, `neg` and `abs` also for integers.
    Constraints: (C1) operand and result have one type. (C2) `not` needs i1, all others but neg and abs a float type.
    Example: `%y = tp.unary gelu %x : tensor<2x8xf32>`
  }];
  let arguments = (ins TP_UnaryKindAttr:$kind, TP_Tensor:$input);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input)";
}

def TP_BinaryOp : TP_GraphOp<"binary"> {
  let summary = "Elementwise function of two tensors with broadcasting";
  let description = [{
    Shapes are aligned at the last dimension; a missing dimension or one of size 1 is repeated (numpy).
    Constraints: (C1) the broadcast shape is the result's. (C2) all element types are equal; `and`, `or` need i1,
    `div` and `pow` floats.
    Example: `%y = tp.binary add %x, %b : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>`
  }];
  let arguments = (ins TP_BinaryKindAttr:$kind, TP_Tensor:$lhs, TP_Tensor:$rhs);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)";
}

def TP_CompareOp : TP_GraphOp<"compare"> {
  let summary = "Elementwise comparison with broadcasting; gives i1";
  let description = [{
    Constraints: (C1) the broadcast shape is the result's. (C2) operand element types are equal, the result's is i1.
    Example: `%y = tp.compare lt %a, %b : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi1>`
  }];
  let arguments = (ins TP_CompareKindAttr:$kind, TP_Tensor:$lhs, TP_Tensor:$rhs);
  let results = (outs TP_BoolTensor:$result);
  let assemblyFormat = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)";
}

def TP_SelectOp : TP_GraphOp<"select"> {
  let summary = "Chooses elements by a condition, with broadcasting";
  let description = [{
    Constraints: (C1) the broadcast shape of the three operands is the result's. (C2) both values and the result
    have one element type.
    Example: `%y = tp.select %c, %a, %b : (tensor<4xi1>, tensor<4xf32>, tensor<f32>) -> tensor<4xf32>`
  }];
  let arguments = (ins TP_BoolTensor:$condition, TP_Tensor:$on_true, TP_Tensor:$on_false);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$condition `,` $on_true `,` $on_false attr-dict `:` functional-type(operands, results)";
}

def TP_ElementwiseOp : TP_GraphOp<"elementwise"> {
  let summary = "A fused expression in postfix form, with broadcasting";
  let description = [{
    Made by fusion; lives from `optimized` on. Terms are separated by blanks: `$0` is the first input, a number is a constant,
    anything else names an operator of tp.unary, tp.binary, tp.compare or `select` that pops its operands.
    Constraints: (C1) the expression is well-formed and leaves one value. (C2) at most 16 operators.
    (C3) the broadcast shape of the inputs is the result's. (C4) inputs are floats or booleans.
    Example: `%y = tp.elementwise "$0 silu $1 mul" %a, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>`
  }];
  let arguments = (ins StrAttr:$expr, Variadic<TP_Tensor>:$inputs);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$expr $inputs attr-dict `:` functional-type(operands, results)";
}

def TP_ConvertOp : TP_GraphOp<"convert"> {
  let summary = "Converts the element type";
  let description = [{
    To i1: true where the value is not 0. From i1: 0 or 1. Float to integer truncates towards zero.
    Constraints: (C1) shapes are equal.
    Example: `%y = tp.convert %x : tensor<2x8xi64> to tensor<2x8xi1>`
  }];
  let arguments = (ins TP_Tensor:$input);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
}

def TP_DenseElements : ElementsAttrBase<CPred<"::llvm::isa<::mlir::DenseElementsAttr>($_self)">, "dense elements"> {
  let storageType = "::mlir::DenseElementsAttr";
  let returnType = "::mlir::DenseElementsAttr";
  let convertFromStorage = "$_self";
}

// ConstantOp C1
def TP_ConstantOp : TP_GraphOp<"constant", [AllTypesMatch<["value", "result"]>], ["localize"]> {
  let summary = "A small constant";
  let description = [{
    Splats and small tables only; larger constants are globals with a key in constants.safetensors.
    Constraints: (C1) the value's type is the result's. (C2) a value that is not a splat has at most 64 elements.
    Example: `%c = tp.constant dense<1.0> : tensor<f32>`
  }];
  let arguments = (ins TP_DenseElements:$value);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$value attr-dict";
}

// SoftmaxOp C1
def TP_SoftmaxOp : TP_GraphOp<"softmax", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Softmax along one dimension, computed in f32";
  let description = [{
    Constraints: (C1) operand and result have one type. (C2) dim is inside the rank.
    Example: `%y = tp.softmax %x dim = 1 : tensor<2x8xf32>`
  }];
  let arguments = (ins TP_FloatTensor:$input, I64Attr:$dim);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = "$input `dim` `=` $dim attr-dict `:` type($input)";
}

def TP_LayerNormOp : TP_GraphOp<"layer_norm", [AttrSizedOperandSegments]> {
  let summary = "Layer normalisation over the last dimensions, statistics in f32";
  let description = [{
    (x - mean) / sqrt(variance + eps) * scale + bias over the last `dims` dimensions.
    Constraints: (C1) input and result have one type. (C2) dims is between 1 and the rank. (C3) scale and
    bias have the shape of the last `dims` dimensions. (C4) eps > 0.
    Example: `%y = tp.layer_norm %x scale %w bias %b eps = 1.0e-12 : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>`
  }];
  let arguments = (ins TP_FloatTensor:$input, Optional<TP_FloatTensor>:$scale, Optional<TP_FloatTensor>:$bias,
                       F32Attr:$eps, DefaultValuedAttr<I64Attr, "1">:$dims);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = "$input (`scale` $scale^)? (`bias` $bias^)? `eps` `=` $eps attr-dict `:` functional-type(operands, results)";
}

def TP_RmsNormOp : TP_GraphOp<"rms_norm"> {
  let summary = "RMS normalisation over the last dimensions, statistics in f32";
  let description = [{
    x / sqrt(mean(x^2) + eps) * scale over the last `dims` dimensions. With `rounded`, the quotient is rounded
    to the result's type before it is multiplied, as Hugging Face's Llama does in bf16.
    Constraints: (C1) input and result have one type. (C2) dims is between 1 and the rank. (C3) scale has
    the shape of the last `dims` dimensions. (C4) eps > 0.
    Example: `%y = tp.rms_norm %x scale %w eps = 1.0e-6 : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>`
  }];
  let arguments = (ins TP_FloatTensor:$input, Optional<TP_FloatTensor>:$scale, F32Attr:$eps,
                       DefaultValuedAttr<I64Attr, "1">:$dims, UnitAttr:$rounded);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = "$input (`scale` $scale^)? `eps` `=` $eps attr-dict `:` functional-type(operands, results)";
}

def TP_SdpaOp : TP_GraphOp<"sdpa", [AttrSizedOperandSegments]> {
  let summary = "Attention as frameworks have it: heads in dimension 1; imported form only";
  let description = [{
    query [b,h,s,d], key [b,kv,t,d], value [b,kv,t,e] -> [b,h,s,e]; query head i reads KV head i / (h/kv).
    `mask` i1, true = attend: [b,t] (keys), or [b|1,h|1,s|1,t]. `bias` float [b|1,h|1,s|1,t] is added to the scores.
    `causal`: query i attends to keys 0..i. Lives in the imported form; tp-raise turns it into tp.attention.
    Constraints: (C1) ranks and sizes agree, h is a multiple of kv. (C2) mask and bias broadcast to the scores. (C3) causal needs s = t.
    Example: `%o = tp.sdpa %q, %k, %v mask %m scale = 0.125 causal = false : (tensor<2x4x8x16xf32>,
    tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x8xi1>) -> tensor<2x4x8x16xf32>`
  }];
  let arguments = (ins TP_FloatTensor:$query, TP_FloatTensor:$key, TP_FloatTensor:$value, Optional<TP_BoolTensor>:$mask,
                       Optional<TP_FloatTensor>:$bias, F32Attr:$scale, BoolAttr:$causal);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = [{ $query `,` $key `,` $value (`mask` $mask^)? (`bias` $bias^)? `scale` `=` $scale `causal` `=` $causal
                          attr-dict `:` functional-type(operands, results) }];
}

def TP_AttentionOp : TP_GraphOp<"attention", [AttrSizedOperandSegments], ["getFlops", "localize"]> {
  let summary = "Attention with explicit KV heads (g) and query heads per KV head (r)";
  let description = [{
    q [b,s,g,r,d], k [b,t,g,d], v [b,t,g,e] -> [b,s,g,r,e], query head = g*R + r. `mask` i1 [b|1,s|1,t],
    true = attend; `bias` float [b|1,g|1,r|1,s|1,t] is added to the scores. A row that attends to nothing gives 0.
    `position` (from `local` on) is the first query's position under `causal`, when s is sharded.
    Constraints: (C1) sizes of equal letters agree. (C2) mask and bias broadcast. (C3) causal without `position` needs s = t.
    (C4) q, k, v and the result have one element type.
  }];
  let arguments = (ins TP_FloatTensor:$q, TP_FloatTensor:$k, TP_FloatTensor:$v, Optional<TP_BoolTensor>:$mask,
                       Optional<TP_FloatTensor>:$bias, F32Attr:$scale, BoolAttr:$causal, OptionalAttr<TP_RankValueAttr>:$position);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = [{ $q `,` $k `,` $v (`mask` $mask^)? (`bias` $bias^)? `scale` `=` $scale `causal` `=` $causal
                          attr-dict `:` functional-type(operands, results) }];
}

def TP_RopeOp : TP_GraphOp<"rope", [], ["localize"]> {
  let summary = "Rotary position embedding";
  let description = [{
    x [b,s,..,d] is rotated by the angles at `positions` [b|1,s] (integers); without them sequence index i is position i.
    Tables cos, sin [capacity, rot/2] f32. Half-split pairs are (i, i + rot/2), interleaved pairs (2i, 2i+1); elements from rot
    on are copied. `position` (from `local` on) is the position of index 0 when s is sharded and there are no positions.
    Constraints: (C1) x has rank >= 3 and the result its type. (C2) positions are [b|1,s]. (C3) the tables have one shape and
    2 * their last size is at most d. (C4) without positions and `position`, capacity is at least s.
    Example: `%y = tp.rope %x cos %c sin %s interleaved = false : (tensor<2x8x4x1x16xf32>, tensor<8x8xf32>,
    tensor<8x8xf32>) -> tensor<2x8x4x1x16xf32>`
  }];
  let arguments = (ins TP_FloatTensor:$input, Optional<TP_IndexTensor>:$positions, TP_FloatTensor:$cos, TP_FloatTensor:$sin,
                       BoolAttr:$interleaved, OptionalAttr<TP_RankValueAttr>:$position);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = [{ $input (`at` $positions^)? `cos` $cos `sin` $sin `interleaved` `=` $interleaved attr-dict
                          `:` functional-type(operands, results) }];
}

def TP_EmbeddingOp : TP_GraphOp<"embedding", [], ["localize"]> {
  let summary = "Looks up rows of a table";
  let description = [{
    result[i.., row..] = table[ids[i..], row..]. With `base` and `rows` (from `local` on) ids are counted from base, and an id outside
    [base, base + rows) gives zeros.
    Constraints: (C1) the result's shape is ids' followed by the row's. (C2) element types of table and result are equal.
    Example: `%y = tp.embedding %ids, %table : (tensor<2x8xi64>, tensor<100x16xf32>) -> tensor<2x8x16xf32>`
  }];
  let arguments = (ins TP_IndexTensor:$ids, TP_Tensor:$table, OptionalAttr<TP_RankValueAttr>:$base, OptionalAttr<TP_RankValueAttr>:$rows);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` functional-type(operands, results)";
}

def TP_TakeOp : TP_GraphOp<"take", [], ["localize"]> {
  let summary = "Takes one position of a dimension, which stays with size 1";
  let description = [{
    A lookup: sharded over `dim` each rank gives the row it owns, others zeros, and the result is partial.
    `base` and `rows` as in tp.embedding.
    Constraints: (C1) dim inside the rank, index inside the dimension (before `local`). (C2) the result's shape is x's with 1 there.
    Example: `%y = tp.take %x dim = 1 index = 7 : tensor<2x8x16xf32> to tensor<2x1x16xf32>`
  }];
  let arguments = (ins TP_Tensor:$input, I64Attr:$dim, I64Attr:$index, OptionalAttr<TP_RankValueAttr>:$base, OptionalAttr<TP_RankValueAttr>:$rows);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input `dim` `=` $dim `index` `=` $index attr-dict `:` type($input) `to` type($result)";
}

def TP_ReshapeOp : TP_GraphOp<"reshape"> {
  let summary = "Reshapes in row-major order";
  let description = [{
    Constraints: (C1) element types and numbers of elements are equal.
    Example: `%y = tp.reshape %x : tensor<2x8x12x64xf32> to tensor<2x8x768xf32>`
  }];
  let arguments = (ins TP_Tensor:$input);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def TP_TransposeOp : TP_GraphOp<"transpose"> {
  let summary = "Permutes dimensions";
  let description = [{
    Dimension i of the result is dimension permutation[i] of the operand.
    Constraints: (C1) permutation is one. (C2) the result's shape is the permuted one.
    Example: `%y = tp.transpose %x [0, 2, 1] : tensor<2x8x4xf32> to tensor<2x4x8xf32>`
  }];
  let arguments = (ins TP_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input $permutation attr-dict `:` type($input) `to` type($result)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def TP_BroadcastOp : TP_GraphOp<"broadcast"> {
  let summary = "Repeats dimensions of size 1 (and adds leading ones) to a shape";
  let description = [{
    Constraints: (C1) the operand's shape broadcasts (numpy) to the result's. (C2) element types are equal.
    Example: `%y = tp.broadcast %x : tensor<1x8xf32> to tensor<2x8xf32>`
  }];
  let arguments = (ins TP_Tensor:$input);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `to` type($result)";
  let hasFolder = 1;
}

def TP_SliceOp : TP_GraphOp<"slice", [], ["localize"]> {
  let summary = "A strided box of a tensor";
  let description = [{
    Element i of a dimension is element offsets + i * strides of the operand's. Strides are at least 1.
    Constraints: (C1) one offset, size and stride per dimension. (C2) the box lies inside. (C3) sizes are the result's.
    Example: `%y = tp.slice %x [0, 4] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>`
  }];
  let arguments = (ins TP_Tensor:$input, DenseI64ArrayAttr:$offsets, DenseI64ArrayAttr:$sizes, DenseI64ArrayAttr:$strides);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input $offsets $sizes $strides attr-dict `:` type($input) `to` type($result)";
  let hasFolder = 1;
}

def TP_ConcatOp : TP_GraphOp<"concat"> {
  let summary = "Joins tensors along one dimension";
  let description = [{
    Constraints: (C1) at least one input; all have one rank and element type. (C2) sizes agree but along dim, where they add up.
    Example: `%y = tp.concat %a, %b dim = 1 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>`
  }];
  let arguments = (ins Variadic<TP_Tensor>:$inputs, I64Attr:$dim);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$inputs `dim` `=` $dim attr-dict `:` functional-type(operands, results)";
}

def TP_ReduceOp : TP_GraphOp<"reduce"> {
  let summary = "Reduces dimensions, which stay with size 1";
  let description = [{
    A mean is a sum times 1 / n.
    Constraints: (C1) dims are distinct, sorted and inside the rank. (C2) the result has size 1 there.
    Example: `%y = tp.reduce sum %x [1] : tensor<2x8xf32> to tensor<2x1xf32>`
  }];
  let arguments = (ins TP_ReduceKindAttr:$kind, TP_FloatTensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs TP_FloatTensor:$result);
  let assemblyFormat = "$kind $input $dims attr-dict `:` type($input) `to` type($result)";
}

#endif

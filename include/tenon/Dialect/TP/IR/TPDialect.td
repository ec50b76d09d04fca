// SPDX-License-Identifier: Apache-2.0
// The tp dialect and its attributes: transformer graphs with global shapes, shardings and strategies.
#ifndef TENON_DIALECT_TP_IR_TPDIALECT_TD
#define TENON_DIALECT_TP_IR_TPDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def TP_Dialect : Dialect {
  let name = "tp";
  let cppNamespace = "::tenon::tp";
  let summary = "Transformer graphs that are sharded over a device mesh";
  let description = [{
    A module holds one `tp.mesh` (from assignment on), weights as `ml_program.global`, and entry
    functions. In the phases `imported`, `graph`, `sharded`, `resharded` and `collective` types are global; from `local`
    on they are one rank's blocks. Shapes are static in all phases.

    Discardable attributes: `tp.key` (string, on imported globals: the checkpoint key), `tp.view`
    (#tp.view, on globals from `graph` on), `tp.stored` (type: element type in the checkpoint where it
    differs from the global's), `tp.equal_halves` (unit, on imported globals: both halves of the last dimension hold the
    same numbers, as in rotary tables; passes never read data, so the exporter says it), `tp.sharding` (#tp.sharding, on globals, entry arguments and results, or as a
    pin on any op), `tp.name` (string, entry arguments and results), `tp.range` (array of two i64: legal values of an
    integer input, high exclusive), `tp.mask_rows` (unit: each row of this input holds a value that is not
    0), `tp.strategy` (#tp.strategy, the decision for a graph op from `sharded` on, or a pin on it), `tp.certificate`,
    `tp.choices` and `tp.machine` (strings, on the module from `sharded` on), `tp.shape` and `tp.parts` (on globals, results: the global shape
    and the parts of a merged weight, from `local` on), `tp.predicted_us` (float, from `optimized` on), `tp.model` (string, on
    the module), `tp.layer_plan` (dictionary of strings, on the module: the tensor-parallel plan in the model's own
    config, for strategy=hf). Any other attribute of this prefix is an error: a misspelt pin would be a pin that does not hold.
  }];
  let useDefaultAttributePrinterParser = 1;
  let hasOperationAttrVerify = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
  let extraClassDeclaration = [{ void registerAttributes(); }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::ml_program::MLProgramDialect"];
}

class TP_Attr<string name, string mnem> : AttrDef<TP_Dialect, name> { let mnemonic = mnem; }

def TP_ViewAttr : TP_Attr<"View", "view"> {
  let summary = "A strided view of a stored tensor";
  let description = [{
    `key` is the checkpoint key and `shape` the stored shape, row-major. Element (i0, i1, ..) of the view
    is the stored element offset + i0*strides[0] + i1*strides[1] + ... Views split, slice and group
    dimensions; they never permute them.
    Constraints: (C1) sizes and strides have one length. (C2) every element lies inside the stored tensor.
    Example: `#tp.view<"h.0.attn.c_attn.weight", shape = [768, 2304], offset = 768, sizes = [768, 12, 64],
    strides = [2304, 64, 1]>`.
  }];
  let parameters = (ins StringRefParameter<>:$key, ArrayRefParameter<"int64_t">:$shape, "int64_t":$offset,
                        ArrayRefParameter<"int64_t">:$sizes, ArrayRefParameter<"int64_t">:$strides);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def TP_ShardingAttr : TP_Attr<"Sharding", "sharding"> {
  let summary = "How a value is laid out over the mesh";
  let description = [{
    Per dimension an ordered list of axes (major to minor), plus the axes over which the value is
    partial. `#tp.sharding<[{"tp"}, {} ]>`, `#tp.sharding<[{}, {} ], partial = sum {"node"}>`.
    Constraints: (C1) an axis is named at most once. (C2) on a value: one list per dimension. (C3) every axis exists in the
    module's mesh.
  }];
  let parameters = (ins "::mlir::ArrayAttr":$dims, "::mlir::ArrayAttr":$partial,
                        "::tenon::sharding::Reduction":$reduction);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def TP_StrategyAttr : TP_Attr<"Strategy", "strategy"> {
  let summary = "The one record of a decision: factor to mesh axes";
  let description = [{
    Names the factors that are sharded: `#tp.strategy<"h" = {"tp"}>`; `partial` is the pseudo-factor of
    linear ops, `operand` says which operand of a product is partial: `#tp.strategy<partial = {"tp"} operand 0>`.
    Every operand and result sharding is derived from the op's rule and its strategy.
    Constraints: (C1) a factor is named at most once, an axis at most once.
  }];
  let parameters = (ins "::mlir::ArrayAttr":$factors, "::mlir::ArrayAttr":$axes, "::mlir::ArrayAttr":$partial,
                        "int64_t":$operand);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def TP_RankValueAttr : TP_Attr<"RankValue", "rank"> {
  let summary = "A number that depends on the rank";
  let description = [{
    The start or the owned length of this rank's nested block of `n` elements over `axes`:
    `#tp.rank<start 30522 over {"tp"}>`, `#tp.rank<length 5 over {"a", "b"}>`. May live from `local` on.
  }];
  let parameters = (ins "bool":$length, "int64_t":$n, "::mlir::ArrayAttr":$axes);
  let hasCustomAssemblyFormat = 1;
}

class TP_EnumAttr<EnumInfo info, string mnem> : EnumAttr<TP_Dialect, info, mnem> { let assemblyFormat = "$value"; }

def TP_UnaryKind : I32Enum<"UnaryKind", "Elementwise functions of one value", [
  I32EnumCase<"Neg", 0, "neg">, I32EnumCase<"Exp", 1, "exp">, I32EnumCase<"Log", 2, "log">, I32EnumCase<"Tanh", 3, "tanh">,
  I32EnumCase<"Sigmoid", 4, "sigmoid">, I32EnumCase<"Relu", 5, "relu">, I32EnumCase<"Gelu", 6, "gelu">,
  I32EnumCase<"GeluTanh", 7, "gelu_tanh">, I32EnumCase<"Silu", 8, "silu">, I32EnumCase<"Sqrt", 9, "sqrt">,
  I32EnumCase<"Rsqrt", 10, "rsqrt">, I32EnumCase<"Sin", 11, "sin">, I32EnumCase<"Cos", 12, "cos">,
  I32EnumCase<"Abs", 13, "abs">, I32EnumCase<"Erf", 14, "erf">, I32EnumCase<"Not", 15, "not">]> { let cppNamespace = "::tenon::tp"; }
def TP_UnaryKindAttr : TP_EnumAttr<TP_UnaryKind, "unary_kind">;

def TP_BinaryKind : I32Enum<"BinaryKind", "Elementwise functions of two values", [
  I32EnumCase<"Add", 0, "add">, I32EnumCase<"Sub", 1, "sub">, I32EnumCase<"Mul", 2, "mul">, I32EnumCase<"Div", 3, "div">,
  I32EnumCase<"Pow", 4, "pow">, I32EnumCase<"Max", 5, "max">, I32EnumCase<"Min", 6, "min">,
  I32EnumCase<"And", 7, "and">, I32EnumCase<"Or", 8, "or">]> { let cppNamespace = "::tenon::tp"; }
def TP_BinaryKindAttr : TP_EnumAttr<TP_BinaryKind, "binary_kind">;

def TP_CompareKind : I32Enum<"CompareKind", "Comparisons", [
  I32EnumCase<"Eq", 0, "eq">, I32EnumCase<"Ne", 1, "ne">, I32EnumCase<"Lt", 2, "lt">, I32EnumCase<"Le", 3, "le">,
  I32EnumCase<"Gt", 4, "gt">, I32EnumCase<"Ge", 5, "ge">]> { let cppNamespace = "::tenon::tp"; }
def TP_CompareKindAttr : TP_EnumAttr<TP_CompareKind, "compare_kind">;

def TP_ReduceKind : I32Enum<"ReduceKind", "Reductions", [
  I32EnumCase<"Sum", 0, "sum">, I32EnumCase<"Max", 1, "max">, I32EnumCase<"Min", 2, "min">]> { let cppNamespace = "::tenon::tp"; }
def TP_ReduceKindAttr : TP_EnumAttr<TP_ReduceKind, "reduce_kind">;

def TP_ActivationKind : I32Enum<"ActivationKind", "Activations that a matmul can apply", [
  I32EnumCase<"None", 0, "none">, I32EnumCase<"Gelu", 1, "gelu">, I32EnumCase<"GeluTanh", 2, "gelu_tanh">,
  I32EnumCase<"Silu", 3, "silu">, I32EnumCase<"Relu", 4, "relu">, I32EnumCase<"Tanh", 5, "tanh">]> { let cppNamespace = "::tenon::tp"; }
def TP_ActivationKindAttr : TP_EnumAttr<TP_ActivationKind, "activation">;

#endif

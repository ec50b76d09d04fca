// SPDX-License-Identifier: Apache-2.0
// The plan dialect, its buffer type and its attributes: the text of a plan, before and after it is a file.
#ifndef TENON_DIALECT_PLAN_IR_PLANDIALECT_TD
#define TENON_DIALECT_PLAN_IR_PLANDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let cppNamespace = "::tenon::plan";
  let summary = "Plans: what every rank does in one step, one op per instruction of the runtime";
  let description = [{
    A module in this dialect holds one `plan.mesh`, the weights, and one `plan.entry` per function of the model. An
    entry is a list: its buffers, its inputs, its instructions in order, its outputs. Every fact of a
    plan file stands in the text and back: printing a plan file gives this form again.

    An operand of an instruction is a *region* of one buffer, `%b[offset, sizes x type by strides]`, all in
    elements: `%b[4, 2x3xf32 by 8x1]` reads elements 4, 5, 6 and 12, 13, 14 of a buffer of f32. Strides are left out when
    the region is contiguous. A stride of 0 repeats. An offset may depend on the rank (`#plan.value`).

    The instructions of stream 0 compute, those of stream 1 communicate; the two are joined by `plan.record`
    and `plan.wait`.

    Module attributes: `plan.producer`, `plan.model`, `plan.machine`, `plan.certificate`, `plan.choices` (strings), `plan.pack_budget` and
    `plan.weights_bytes_unsharded` (bytes, i64).
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{
    void registerAttributes();
    void registerTypes();
  }];
}

class Plan_Attr<string name, string mnem> : AttrDef<Plan_Dialect, name> { let mnemonic = mnem; }

def Plan_BufferType : TypeDef<Plan_Dialect, "Buffer"> {
  let mnemonic = "buffer";
  let summary = "Memory that holds elements of one type";
  let description = [{
    A logical buffer of f32, bf16, f16, i32, i64 or i1 (one byte each). Its number of elements stands at its definition.
    Constraints: (C1) the element type is one of these.
  }];
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
  let genVerifyDecl = 1;
}

def Plan_ValueAttr : Plan_Attr<"Value", "value"> {
  let summary = "A number that may depend on the rank";
  let description = [{
    `#plan.value<7>`, or the start or the owned length of this rank's nested block of n elements cut over mesh axes,
    times a stride, plus a base: `#plan.value<start 5 over {"a", "b"} * 64 + 3>`.
    Constraints: (C1) n is not negative. (C2) at least one axis, none twice.
  }];
  let parameters = (ins "::tenon::plan::RankValue::Kind":$kind, "int64_t":$base, "int64_t":$stride, "int64_t":$n,
                        "::mlir::ArrayAttr":$axes);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Plan_SliceAttr : Plan_Attr<"Slice", "slice"> {
  let summary = "Which elements of a buffer an operand means";
  let description = [{
    Offset, sizes and strides in elements. Written behind the operand, `%b[4, 2x3xf32 by 8x1]`; alone it is
    `#plan.slice<4, [2, 3], [8, 1]>`.
    Constraints: (C1) as many strides as sizes. (C2) no size is negative.
  }];
  let parameters = (ins "::tenon::plan::ValueAttr":$offset, OptionalArrayRefParameter<"int64_t">:$sizes,
                        OptionalArrayRefParameter<"int64_t">:$strides);
  let assemblyFormat = "`<` custom<Value>($offset) `,` `[` (`]`) : ($sizes^ `]`)? `,` `[` (`]`) : ($strides^ `]`)? `>`";
  let genVerifyDecl = 1;
}

def Plan_PartAttr : Plan_Attr<"Part", "part"> {
  let summary = "One part of a weight: a view of a stored tensor, how it is cut, and where it goes";
  let description = [{
    Element (i0, i1, ..) of the view is the stored element offset + i0*strides[0] + ... Dimension d is cut over
    axes[d]; the rank's block is written at `at` with strides `to`. A rank whose coordinate on any of `partial` is not 0
    holds zeros.
    Constraints: (C1) sizes, strides, axes and `to` have one length. (C2) sizes are not negative.
    Example: `#plan.part<"w", f32 [8, 16], offset = 0, sizes = [8, 16], strides = [16, 1], axes = [["tp"], []], partial = [], at = 0, to = [16, 1]>`
  }];
  let parameters = (ins StringRefParameter<>:$key, "::mlir::Type":$type, OptionalArrayRefParameter<"int64_t">:$shape,
                        "int64_t":$offset, OptionalArrayRefParameter<"int64_t">:$sizes,
                        OptionalArrayRefParameter<"int64_t">:$strides, "::mlir::ArrayAttr":$axes,
                        "::mlir::ArrayAttr":$partial, "int64_t":$at, OptionalArrayRefParameter<"int64_t">:$to);
  let assemblyFormat = [{ `<` $key `,` $type `[` (`]`) : ($shape^ `]`)? `,` `offset` `=` $offset `,`
    `sizes` `=` `[` (`]`) : ($sizes^ `]`)? `,` `strides` `=` `[` (`]`) : ($strides^ `]`)? `,` `axes` `=` $axes `,`
    `partial` `=` $partial `,` `at` `=` $at `,` `to` `=` `[` (`]`) : ($to^ `]`)? `>` }];
  let genVerifyDecl = 1;
}

#endif

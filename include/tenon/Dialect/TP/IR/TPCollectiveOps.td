// SPDX-License-Identifier: Apache-2.0
// Ops that move data between ranks or cut it: tp.reshard before collectives are chosen, and the
// collectives themselves. All act on one rank's block from `local` on, on global types before.
#ifndef TENON_DIALECT_TP_IR_TPCOLLECTIVEOPS_TD
#define TENON_DIALECT_TP_IR_TPCOLLECTIVEOPS_TD

include "tenon/Dialect/TP/IR/TPOps.td"

def TP_ReshardOp : TP_Op<"reshard", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Changes the sharding of a value";
  let description = [{
    Lives in the phase `resharded`. `from` and `to` are shardings of the same global type.
    Constraints: (C1) both shardings have the value's rank. (C2) `from` and `to` differ. (C3) `to` is partial
    over no axis over which `from` is not.
    Example: `%y = tp.reshard %x from <[{}, {} ], partial = sum {"tp"}> to <[{}, {} ]> : tensor<4x8xf32>`
  }];
  let arguments = (ins TP_Tensor:$input, TP_ShardingAttr:$from, TP_ShardingAttr:$to, OptionalAttr<StrAttr>:$cause);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input `from` $from `to` $to attr-dict `:` type($input)";
  let hasVerifier = 1;
}

class TP_CollectiveOp<string mnemonic, list<Trait> traits = []>
    : TP_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<CollectiveOpInterface>], traits)> {
  let arguments = (ins TP_Tensor:$input, StrArrayAttr:$axes, TP_ShardingAttr:$from, TP_ShardingAttr:$to,
                       DenseI64ArrayAttr:$shape, OptionalAttr<StrAttr>:$cause);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input `over` $axes `from` $from `to` $to `of` $shape attr-dict `:` type($input) `to` type($result)";
  let hasVerifier = 1;
}

def TP_AllReduceOp : TP_CollectiveOp<"all_reduce"> {
  let summary = "Sums (or takes the maximum of) every rank's block; all get the result";
  let description = [{
    `from`, `to` are the shardings of the value before and after, `shape` its global shape, here and in the other collectives.
    Constraints: (C1) one step leads from `from` to `to` over `axes`. (C2) types are both global, or the local ones of from and to.
  }];
}
def TP_AllGatherOp : TP_CollectiveOp<"all_gather"> {
  let summary = "Gathers the blocks of a dimension; padding is cut at every level";
  let description = [{ Constraints: (C1), (C2) as tp.all_reduce. }];
}
def TP_ReduceScatterOp : TP_CollectiveOp<"reduce_scatter"> {
  let summary = "Sums every rank's block and leaves each rank its part of a dimension";
  let description = [{ Constraints: (C1), (C2) as tp.all_reduce. }];
}
def TP_AllToAllOp : TP_CollectiveOp<"all_to_all"> {
  let summary = "Moves axes from one dimension to another";
  let description = [{ Constraints: (C1), (C2) as tp.all_reduce. }];
}
def TP_LocalSliceOp : TP_CollectiveOp<"local_slice"> {
  let summary = "Keeps this rank's part of a dimension; no communication";
  let description = [{ Constraints: (C1), (C2) as tp.all_reduce. }];
}

def TP_MaskPaddingOp : TP_Op<"mask_padding", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Replaces the padding of a dimension by a value";
  let description = [{
    Elements of `dim` from `length` on become `value`, where a reduction over them could change a result. Lives from `local` on.
    Constraints: (C1) dim is inside the rank.
  }];
  let arguments = (ins TP_Tensor:$input, I64Attr:$dim, TP_RankValueAttr:$length, F64Attr:$value);
  let results = (outs TP_Tensor:$result);
  let assemblyFormat = "$input `dim` `=` $dim `from` $length `value` `=` $value attr-dict `:` type($input)";
  let hasVerifier = 1;
}

#endif

// SPDX-License-Identifier: Apache-2.0
// The two op interfaces of the tp dialect: what sharding asks of an op, and what reports ask of a collective.
#ifndef TENON_DIALECT_TP_IR_TPINTERFACES_TD
#define TENON_DIALECT_TP_IR_TPINTERFACES_TD

include "mlir/IR/OpBase.td"

def ShardableOpInterface : OpInterface<"ShardableOpInterface"> {
  let cppNamespace = "::tenon::tp";
  let description = [{
    An op that can be sharded. Strategies, operand and result shardings, local shapes, cost and
    localisation follow from the rule.
  }];
  let methods = [
    InterfaceMethod<[{
      Returns how the dimensions of operands and results are tied, with one ValueFactors per operand and result in order.
      Example: matmul "sk,kn->sn" gives factors s, n (parallel), k (reduction).
    }], "::tenon::sharding::Rule", "getShardingRule">,
    InterfaceMethod<[{
      Returns floating-point operations of the whole op on global (or local) shapes, as it stands.
    }], "double", "getFlops", (ins), [{}], [{ return 0.0; }]>,
    InterfaceMethod<[{
      Builds this op on one rank's blocks: `operands` are local, `resultTypes` the local types. Adds what
      depends on the rank (block offsets of positional and lookup factors). Returns the new op, or null after emitting an error.
    }], "::mlir::Operation *", "localize",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$operands, "::mlir::TypeRange":$resultTypes,
           "const ::tenon::sharding::Strategy &":$strategy, "const ::tenon::sharding::Mesh &":$mesh),
      [{}], [{ return ::tenon::tp::detail::cloneLocal($_op, builder, operands, resultTypes); }]>,
  ];
}

def CollectiveOpInterface : OpInterface<"CollectiveOpInterface"> {
  let cppNamespace = "::tenon::tp";
  let description = "A collective: which axes it runs over.";
  let methods = [
    InterfaceMethod<"Returns the names of the mesh axes of the group, in the order of its members.",
      "::mlir::ArrayAttr", "getGroupAxes">,
    InterfaceMethod<"Returns the kind as reports spell it, e.g. \"all_reduce\".", "::llvm::StringRef", "getKindName">,
  ];
}

#endif

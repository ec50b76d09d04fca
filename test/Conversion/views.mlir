// RUN: tp-opt %s -split-input-file --convert-tp-to-plan | FileCheck %s

// Reshape, transpose and slice only look: one copy in all, which makes the output contiguous. Head 1 of x [2, 8, 3*4]:
// strides 96, 12, 1 -> [2, 8, 3, 4] -> [2, 3, 8, 4] strides 96, 4, 12, 1 -> offset 4.
// CHECK-LABEL: plan.entry @looks
// CHECK: %[[X:.*]] = plan.buffer 192
// CHECK: %[[Y:.*]] = plan.buffer 64
// CHECK: plan.input "x" %[[X]] [2, 8, 12]
// CHECK-NEXT: plan.copy x(%[[X]][4, 2x1x8x4xf32 by 96x4x12x1]) out(%[[Y]][0, 2x1x8x4xf32])
// CHECK-NEXT: plan.output "y" %[[Y]] [2, 1, 8, 4] axes {{\[\[\], \[\], \[\], \[\]\]}}
func.func @looks(%x: tensor<2x8x12xf32> {tp.name = "x"}) -> (tensor<2x1x8x4xf32> {tp.name = "y"}) {
  %0 = tp.reshape %x : tensor<2x8x12xf32> to tensor<2x8x3x4xf32>
  %1 = tp.transpose %0 [0, 2, 1, 3] : tensor<2x8x3x4xf32> to tensor<2x3x8x4xf32>
  %2 = tp.slice %1 [0, 1, 0, 0] [2, 1, 8, 4] [1, 1, 1, 1] : tensor<2x3x8x4xf32> to tensor<2x1x8x4xf32>
  return %2 : tensor<2x1x8x4xf32>
}

// -----

// Heads and their dimension lie apart after the transpose: merging them needs a copy, which is the output.
// CHECK-LABEL: plan.entry @merge
// CHECK: plan.copy x(%{{.*}}[0, 2x8x3x4xf32 by 96x4x32x1]) out(%[[Y:.*]][0, 2x8x3x4xf32])
// CHECK-NEXT: plan.output "y" %[[Y]] [2, 8, 12]
func.func @merge(%x: tensor<2x3x8x4xf32> {tp.name = "x"}) -> (tensor<2x8x12xf32> {tp.name = "y"}) {
  %0 = tp.transpose %x [0, 2, 1, 3] : tensor<2x3x8x4xf32> to tensor<2x8x3x4xf32>
  %1 = tp.reshape %0 : tensor<2x8x3x4xf32> to tensor<2x8x12xf32>
  return %1 : tensor<2x8x12xf32>
}

// -----

// A broadcast is a stride of 0; a strided slice a larger stride; a reshape of both still looks. An expression reads dense rows: one copy.
// CHECK-LABEL: plan.entry @broadcast
// CHECK: plan.copy x(%{{.*}}[1, 4x2x3xf32 by 0x6x2]) out(%[[D:.*]][0, 4x2x3xf32])
// CHECK-NEXT: plan.elementwise input(%[[D]][0, 4x2x3xf32]) out(%{{.*}}[0, 4x2x3xf32]) {expr = "$0 neg"}
func.func @broadcast(%x: tensor<12xf32> {tp.name = "x"}) -> (tensor<4x2x3xf32> {tp.name = "y"}) {
  %0 = tp.slice %x [1] [6] [2] : tensor<12xf32> to tensor<6xf32>
  %1 = tp.broadcast %0 : tensor<6xf32> to tensor<4x6xf32>
  %2 = tp.reshape %1 : tensor<4x6xf32> to tensor<4x2x3xf32>
  %4 = tp.unary neg %2 : tensor<4x2x3xf32>
  return %4 : tensor<4x2x3xf32>
}

// -----

// An output that is an input, and a value handed out twice.
// CHECK-LABEL: plan.entry @passed_on
// CHECK: %[[X:.*]] = plan.buffer 4
// CHECK: plan.copy x(%[[X]][0, 4xf32]) out(%[[Y:.*]][0, 4xf32])
// CHECK-NEXT: plan.output "y" %[[Y]]
func.func @passed_on(%x: tensor<4xf32> {tp.name = "x"}) -> (tensor<4xf32> {tp.name = "y"}) {
  return %x : tensor<4xf32>
}

// -----

// Pieces of a concat are copied into their place.
// CHECK-LABEL: plan.entry @concat
// CHECK: plan.copy x(%[[A:.*]][0, 2x4xf32]) out(%[[C:.*]][0, 2x4xf32 by 7x1])
// CHECK-NEXT: plan.copy x(%[[B:.*]][0, 2x3xf32]) out(%[[C]][4, 2x3xf32 by 7x1])
func.func @concat(%a: tensor<2x4xf32> {tp.name = "a"}, %b: tensor<2x3xf32> {tp.name = "b"}) -> (tensor<2x7xf32> {tp.name = "y"}) {
  %0 = tp.concat %a, %b dim = 1 : (tensor<2x4xf32>, tensor<2x3xf32>) -> tensor<2x7xf32>
  return %0 : tensor<2x7xf32>
}

// RUN: tp-opt %s -split-input-file --convert-tp-to-plan | FileCheck %s

// An all_reduce copies nothing.
// CHECK-LABEL: plan.entry @all_reduce
// CHECK: plan.elementwise {{.*}} out(%[[N:.*]][0, 4x8xf32])
// CHECK-NEXT: plan.all_reduce x(%[[N]][0, 32xf32]) out(%[[Y:.*]][0, 32xf32]) {axes = ["tp"], cause = "rows of w"}
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"tp"=2>
func.func @all_reduce(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %n = tp.unary neg %x : tensor<4x8xf32>
  %y = tp.all_reduce %n over ["tp"] from <[{}, {}], partial = sum {"tp"}> to <[{}, {}]> of [4, 8] {cause = "rows of w"} : tensor<4x8xf32> to tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

// An even gather of the leading dimension copies nothing.
// CHECK-LABEL: plan.entry @gather_leading
// CHECK: plan.input
// CHECK-NEXT: plan.all_gather x(%{{.*}}[0, 16xf32]) out(%[[Y:.*]][0, 32xf32]) {axes = ["tp"]}
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"tp"=2>
func.func @gather_leading(%x: tensor<2x8xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %y = tp.all_gather %x over ["tp"] from <[{"tp"}, {}]> to <[{}, {}]> of [4, 8] : tensor<2x8xf32> to tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

// Gathered columns arrive as [2, 4, 4]: they are put in order by the one copy that makes the output.
// CHECK-LABEL: plan.entry @gather_columns
// CHECK: plan.all_gather x(%{{.*}}[0, 16xf32]) out(%[[G:.*]][0, 32xf32])
// CHECK-NEXT: plan.copy x(%[[G]][0, 4x2x4xf32 by 4x16x1]) out(%[[Y:.*]][0, 4x2x4xf32])
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"tp"=2>
func.func @gather_columns(%x: tensor<4x4xf32> {tp.name = "x"}) -> (tensor<4x8xf32> {tp.name = "y"}) {
  %y = tp.all_gather %x over ["tp"] from <[{}, {"tp"}]> to <[{}, {}]> of [4, 8] : tensor<4x4xf32> to tensor<4x8xf32>
  return %y : tensor<4x8xf32>
}

// -----

// 5 over 2x2 is owned as 2, 1, 2, 0: gathered blocks are cut at every level, minor first (the pad behind the third element goes),
// then the whole: [2, 2, 2] -> [2, 4] -> [2, 3] -> [6] -> [5].
// CHECK-LABEL: plan.entry @gather_uneven
// CHECK: plan.all_gather x(%{{.*}}[0, 2xf32]) out(%[[G:.*]][0, 8xf32]) {axes = ["a", "b"]}
// CHECK-NEXT: plan.copy x(%[[G]][0, 2x3xf32 by 4x1]) out(%[[C:.*]][0, 2x3xf32])
// CHECK-NEXT: plan.copy x(%[[C]][0, 5xf32]) out(%[[Y:.*]][0, 5xf32])
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"a"=2, "b"=2>
func.func @gather_uneven(%x: tensor<2xf32> {tp.name = "x"}) -> (tensor<5xf32> {tp.name = "y"}) {
  %y = tp.all_gather %x over ["a", "b"] from <[{"a", "b"}]> to <[{}]> of [5] : tensor<2xf32> to tensor<5xf32>
  return %y : tensor<5xf32>
}

// -----

// An even slice is a region at this rank's offset; the matmul reads it where it lies.
// CHECK-LABEL: plan.entry @slice
// CHECK: plan.input
// CHECK-NEXT: plan.elementwise input(%{{.*}}[start 2 over {"tp"} * 4, 4x4xf32 by 8x1])
tp.mesh @mesh <"tp"=2>
func.func @slice(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x4xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 4, 8>}) {
  %s = tp.local_slice %x over ["tp"] from <[{}, {}]> to <[{}, {"tp"}]> of [4, 8] : tensor<4x8xf32> to tensor<4x4xf32>
  %y = tp.unary neg %s : tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

// 3 rows over 2 are padded to 4 with zeros, then a region of 2.
// CHECK-LABEL: plan.entry @slice_uneven
// CHECK: plan.copy x(%{{.*}}[0, 3x8xf32]) out(%[[P:.*]][0, 3x8xf32])
// CHECK-NEXT: plan.fill out(%[[P]][24, 1x8xf32]) {value = 0.0{{.*}}}
// CHECK-NEXT: plan.elementwise input(%[[P]][start 2 over {"tp"} * 16, 2x8xf32])
tp.mesh @mesh <"tp"=2>
func.func @slice_uneven(%x: tensor<3x8xf32> {tp.name = "x"}) -> (tensor<2x8xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{"tp"}, {}]>, tp.shape = array<i64: 3, 8>}) {
  %s = tp.local_slice %x over ["tp"] from <[{}, {}]> to <[{"tp"}, {}]> of [3, 8] : tensor<3x8xf32> to tensor<2x8xf32>
  %y = tp.unary neg %s : tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}

// -----

// Scattered columns are packed first: [4, 2, 4] -> [2, 4, 4].
// CHECK-LABEL: plan.entry @reduce_scatter
// CHECK: plan.copy x(%{{.*}}[0, 2x4x4xf32 by 4x8x1]) out(%[[P:.*]][0, 2x4x4xf32])
// CHECK-NEXT: plan.reduce_scatter x(%[[P]][0, 32xf32]) out(%[[Y:.*]][0, 16xf32]) {axes = ["tp"], reduce = "max"}
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"tp"=2>
func.func @reduce_scatter(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x4xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 4, 8>}) {
  %y = tp.reduce_scatter %x over ["tp"] from <[{}, {}], partial = max {"tp"}> to <[{}, {"tp"}]> of [4, 8] : tensor<4x8xf32> to tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

// -----

// Rows are moved to columns: packed by columns, exchanged, and the received blocks of rows lie in order.
// CHECK-LABEL: plan.entry @all_to_all
// CHECK: plan.copy x(%{{.*}}[start 2 over {"tp"} * 16, 2x2x4xf32 by 4x8x1]) out(%[[P:.*]][0, 2x2x4xf32])
// CHECK-NEXT: plan.all_to_all x(%[[P]][0, 16xf32]) out(%[[Y:.*]][0, 16xf32]) {axes = ["tp"]}
// CHECK-NEXT: plan.output "y" %[[Y]]
tp.mesh @mesh <"tp"=2>
func.func @all_to_all(%x: tensor<4x8xf32> {tp.name = "x"}) -> (tensor<4x4xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {"tp"}]>, tp.shape = array<i64: 4, 8>}) {
  %s = tp.local_slice %x over ["tp"] from <[{}, {}]> to <[{"tp"}, {}]> of [4, 8] : tensor<4x8xf32> to tensor<2x8xf32>
  %y = tp.all_to_all %s over ["tp"] from <[{"tp"}, {}]> to <[{}, {"tp"}]> of [4, 8] : tensor<2x8xf32> to tensor<4x4xf32>
  return %y : tensor<4x4xf32>
}

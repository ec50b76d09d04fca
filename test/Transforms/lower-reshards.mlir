// RUN: tp-opt %s --tp-lower-reshards | FileCheck %s

// Each difference of shardings becomes the one collective that mends it.
tp.mesh @mesh <"tp"=2>

// CHECK-LABEL: func.func @all_reduce
// CHECK-NEXT: %[[R:.*]] = tp.all_reduce %{{.*}} over ["tp"]
// CHECK-NEXT: return %[[R]]
func.func @all_reduce(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{}, {}], partial = sum {"tp"}> to <[{}, {}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// CHECK-LABEL: func.func @all_reduce_max
// CHECK-NEXT: tp.all_reduce %{{.*}} partial = max {"tp"}
func.func @all_reduce_max(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{}, {}], partial = max {"tp"}> to <[{}, {}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// CHECK-LABEL: func.func @reduce_scatter
// CHECK-NEXT: %[[R:.*]] = tp.reduce_scatter %{{.*}} over ["tp"] {{.*}} to <[{}, {"tp"}]>
// CHECK-NEXT: return %[[R]]
func.func @reduce_scatter(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{}, {}], partial = sum {"tp"}> to <[{}, {"tp"}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// CHECK-LABEL: func.func @all_gather
// CHECK-NEXT: %[[R:.*]] = tp.all_gather %{{.*}} over ["tp"]
// CHECK-NEXT: return %[[R]]
func.func @all_gather(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{"tp"}, {}]> to <[{}, {}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// CHECK-LABEL: func.func @all_to_all
// CHECK-NEXT: %[[R:.*]] = tp.all_to_all %{{.*}} over ["tp"]
// CHECK-NEXT: return %[[R]]
func.func @all_to_all(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{"tp"}, {}]> to <[{}, {"tp"}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// Nothing is sent where every rank has what it needs.
// CHECK-LABEL: func.func @local_slice
// CHECK-NEXT: %[[R:.*]] = tp.local_slice %{{.*}} over ["tp"]
// CHECK-NEXT: return %[[R]]
func.func @local_slice(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{}, {}]> to <[{}, {"tp"}]> : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

// The cause stays with the collective.
// CHECK-LABEL: func.func @cause
// CHECK-NEXT: tp.all_gather {{.*}}cause = "because"
func.func @cause(%x: tensor<400x800xf32>) -> tensor<400x800xf32> {
  %0 = tp.reshard %x from <[{"tp"}, {}]> to <[{}, {}]> {cause = "because"} : tensor<400x800xf32>
  return %0 : tensor<400x800xf32>
}

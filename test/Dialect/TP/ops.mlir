// RUN: tp-opt %s -o %t.1 && tp-opt %t.1 -o %t.2 && diff %t.1 %t.2
// RUN: FileCheck %s --input-file=%t.1
// RUN: tp-opt %s --mlir-print-op-generic | tp-opt -o %t.3 && diff %t.1 %t.3

// Every op in its custom form, once plain and once with all of its optional parts, through print, parse, print.

// CHECK: tp.mesh @mesh <"node"=2, "tp"=4>
tp.mesh @mesh <"node"=2, "tp"=4>

// CHECK-LABEL: func.func @matmul
func.func @matmul(%x: tensor<2x8x16xf32>, %w: tensor<32x16xf32>, %b: tensor<32xf32>) -> (tensor<2x8x32xf32>, tensor<2x8x32xf32>) {
  // CHECK: tp.matmul "bsk,nk->bsn" %{{.*}}, %{{.*}} : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  %0 = tp.matmul "bsk,nk->bsn" %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
  // CHECK: bias %{{.*}} {activation = #tp<activation gelu>}
  %1 = tp.matmul "bsk,nk->bsn" %x, %w bias %b {activation = #tp<activation gelu>} : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<32xf32>) -> tensor<2x8x32xf32>
  return %0, %1 : tensor<2x8x32xf32>, tensor<2x8x32xf32>
}

// CHECK-LABEL: func.func @elementwise
func.func @elementwise(%x: tensor<2x8xf32>, %b: tensor<8xf32>, %i: tensor<4xi64>, %s: tensor<f32>) {
  // CHECK: tp.unary gelu
  %0 = tp.unary gelu %x : tensor<2x8xf32>
  // CHECK: tp.binary add
  %1 = tp.binary add %x, %b : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  // CHECK: tp.compare lt
  %2 = tp.compare lt %i, %i : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi1>
  %c = tp.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  // CHECK: tp.select
  %3 = tp.select %2, %c, %s : (tensor<4xi1>, tensor<4xf32>, tensor<f32>) -> tensor<4xf32>
  // CHECK: tp.elementwise "$0 silu $1 mul"
  %4 = tp.elementwise "$0 silu $1 mul" %c, %3 : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  // CHECK: tp.convert %{{.*}} : tensor<4xi64> to tensor<4xi1>
  %5 = tp.convert %i : tensor<4xi64> to tensor<4xi1>
  return
}

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<2x8xf32>, %w: tensor<8xf32>) {
  // CHECK: tp.softmax %{{.*}} dim = 1
  %0 = tp.softmax %x dim = 1 : tensor<2x8xf32>
  // CHECK: tp.layer_norm %{{.*}} scale %{{.*}} bias %{{.*}} eps =
  %1 = tp.layer_norm %x scale %w bias %w eps = 1.0e-12 : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  // CHECK: tp.layer_norm %{{[a-z0-9]+}} eps =
  %2 = tp.layer_norm %x eps = 1.0e-05 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  // CHECK: tp.rms_norm %{{.*}} scale %{{.*}} eps =
  %3 = tp.rms_norm %x scale %w eps = 1.0e-6 : (tensor<2x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  // CHECK: tp.reduce sum %{{.*}} [1]
  %4 = tp.reduce sum %x [1] : tensor<2x8xf32> to tensor<2x1xf32>
  return
}

// CHECK-LABEL: func.func @attention
func.func @attention(%q: tensor<2x8x2x2x16xf32>, %k: tensor<2x8x2x16xf32>, %m: tensor<2x1x8xi1>, %q4: tensor<2x4x8x16xf32>,
                     %k4: tensor<2x2x8x16xf32>, %m4: tensor<2x8xi1>) {
  // CHECK: tp.attention %{{.*}}, %{{.*}}, %{{.*}} scale = {{.*}} causal = true
  %0 = tp.attention %q, %k, %k scale = 0.25 causal = true : (tensor<2x8x2x2x16xf32>, tensor<2x8x2x16xf32>, tensor<2x8x2x16xf32>) -> tensor<2x8x2x2x16xf32>
  // CHECK: mask %{{.*}} scale = {{.*}} causal = false
  %1 = tp.attention %q, %k, %k mask %m scale = 0.25 causal = false : (tensor<2x8x2x2x16xf32>, tensor<2x8x2x16xf32>, tensor<2x8x2x16xf32>, tensor<2x1x8xi1>) -> tensor<2x8x2x2x16xf32>
  // CHECK: tp.sdpa
  %2 = tp.sdpa %q4, %k4, %k4 mask %m4 scale = 0.25 causal = false : (tensor<2x4x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x2x8x16xf32>, tensor<2x8xi1>) -> tensor<2x4x8x16xf32>
  return
}

// CHECK-LABEL: func.func @rope
func.func @rope(%x: tensor<2x8x4x1x16xf32>, %t: tensor<8x8xf32>, %p: tensor<1x8xi64>) {
  // CHECK: tp.rope %{{[a-z0-9]+}} cos
  %0 = tp.rope %x cos %t sin %t interleaved = false : (tensor<2x8x4x1x16xf32>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x4x1x16xf32>
  // CHECK: tp.rope %{{.*}} at %{{.*}} cos
  %1 = tp.rope %x at %p cos %t sin %t interleaved = true : (tensor<2x8x4x1x16xf32>, tensor<1x8xi64>, tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<2x8x4x1x16xf32>
  return
}

// CHECK-LABEL: func.func @movement
func.func @movement(%ids: tensor<2x8xi64>, %table: tensor<100x16xf32>, %x: tensor<2x8x12x4xf32>, %y: tensor<2x8xf32>, %z: tensor<1x8xf32>) {
  // CHECK: tp.embedding
  %0 = tp.embedding %ids, %table : (tensor<2x8xi64>, tensor<100x16xf32>) -> tensor<2x8x16xf32>
  // CHECK: tp.take %{{.*}} dim = 1 index = 7
  %1 = tp.take %0 dim = 1 index = 7 : tensor<2x8x16xf32> to tensor<2x1x16xf32>
  // CHECK: tp.reshape
  %2 = tp.reshape %x : tensor<2x8x12x4xf32> to tensor<2x8x48xf32>
  // CHECK: tp.transpose %{{.*}} [0, 2, 1]
  %3 = tp.transpose %2 [0, 2, 1] : tensor<2x8x48xf32> to tensor<2x48x8xf32>
  // CHECK: tp.broadcast
  %4 = tp.broadcast %z : tensor<1x8xf32> to tensor<2x8xf32>
  // CHECK: tp.slice %{{.*}} [0, 4] [2, 4] [1, 1]
  %5 = tp.slice %y [0, 4] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>
  // CHECK: tp.concat %{{.*}}, %{{.*}} dim = 1
  %6 = tp.concat %5, %5 dim = 1 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>
  return
}

// CHECK-LABEL: func.func @reshard
func.func @reshard(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // CHECK: tp.reshard %{{.*}} from <[{}, {}], partial = sum {"tp"}> to <[{"node", "tp"}, {}]>
  %0 = tp.reshard %x from <[{}, {}], partial = sum {"tp"}> to <[{"node", "tp"}, {}]> : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

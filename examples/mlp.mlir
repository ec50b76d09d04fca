// Megatron's MLP (Shoeybi et al. 2019, section 3): the first weight is cut by columns, the second by rows, GELU runs on
// the shards, and one all-reduce follows. Nothing here says so: the solver finds it.
//   tp-opt examples/mlp.mlir --tp-compile="mesh=tp:2 to=collective" --tp-report
module attributes {tp.model = "mlp"} {
  ml_program.global private @up.weight(#ml_program.extern : tensor<1024x256xf32>) : tensor<1024x256xf32> {tp.key = "up.weight"}
  ml_program.global private @up.bias(#ml_program.extern : tensor<1024xf32>) : tensor<1024xf32> {tp.key = "up.bias"}
  ml_program.global private @down.weight(#ml_program.extern : tensor<256x1024xf32>) : tensor<256x1024xf32> {tp.key = "down.weight"}
  ml_program.global private @down.bias(#ml_program.extern : tensor<256xf32>) : tensor<256xf32> {tp.key = "down.bias"}
  func.func @forward(%x: tensor<4x128x256xf32> {tp.name = "x"})
      -> (tensor<4x128x256xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}, {}]>}) {
    %w1 = ml_program.global_load_const @up.weight : tensor<1024x256xf32>
    %b1 = ml_program.global_load_const @up.bias : tensor<1024xf32>
    %w2 = ml_program.global_load_const @down.weight : tensor<256x1024xf32>
    %b2 = ml_program.global_load_const @down.bias : tensor<256xf32>
    %0 = tp.matmul "bsk,nk->bsn" %x, %w1 : (tensor<4x128x256xf32>, tensor<1024x256xf32>) -> tensor<4x128x1024xf32> loc("up")
    %1 = tp.binary add %0, %b1 : (tensor<4x128x1024xf32>, tensor<1024xf32>) -> tensor<4x128x1024xf32> loc("up")
    %2 = tp.unary gelu %1 : tensor<4x128x1024xf32> loc("act")
    %3 = tp.matmul "bsk,nk->bsn" %2, %w2 : (tensor<4x128x1024xf32>, tensor<256x1024xf32>) -> tensor<4x128x256xf32> loc("down")
    %4 = tp.binary add %3, %b2 : (tensor<4x128x256xf32>, tensor<256xf32>) -> tensor<4x128x256xf32> loc("down")
    return %4 : tensor<4x128x256xf32>
  }
}

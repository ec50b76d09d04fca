// A row-parallel linear layer behind its activation, the second half of a transformer's FFN. Cutting the weight along its
// input dimension k lets the activation run on the shards; every rank then holds a share of each sum, and one
// all-reduce adds the shares. Follow it phase by phase:
//   tp-opt examples/linear_row.mlir --tp-compile="mesh=tp:2 to=collective"
module attributes {tp.model = "linear_row"} {
  ml_program.global private @weight(#ml_program.extern : tensor<256x4096xf32>) : tensor<256x4096xf32> {tp.key = "weight"}
  func.func @forward(%x: tensor<4x128x4096xf32> {tp.name = "x"})
      -> (tensor<4x128x256xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}, {}]>}) {
    %w = ml_program.global_load_const @weight : tensor<256x4096xf32> loc("linear")
    %0 = tp.unary gelu %x : tensor<4x128x4096xf32> loc("act")
    %y = tp.matmul "bsk,nk->bsn" %0, %w : (tensor<4x128x4096xf32>, tensor<256x4096xf32>) -> tensor<4x128x256xf32> loc("linear")
    return %y : tensor<4x128x256xf32>
  }
}

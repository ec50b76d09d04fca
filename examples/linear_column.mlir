// A column-parallel linear layer: the weight is cut along its output dimension n, every rank computes its own
// columns, and the result may stay sharded. Follow it phase by phase:
//   tp-opt examples/linear_column.mlir --tp-compile="mesh=tp:2 to=local"
module attributes {tp.model = "linear_column"} {
  ml_program.global private @weight(#ml_program.extern : tensor<1024x256xf32>) : tensor<1024x256xf32> {tp.key = "weight"}
  func.func @forward(%x: tensor<4x128x256xf32> {tp.name = "x"}) -> (tensor<4x128x1024xf32> {tp.name = "y"}) {
    %w = ml_program.global_load_const @weight : tensor<1024x256xf32> loc("linear")
    %y = tp.matmul "bsk,nk->bsn" %x, %w : (tensor<4x128x256xf32>, tensor<1024x256xf32>) -> tensor<4x128x1024xf32> loc("linear")
    return %y : tensor<4x128x1024xf32>
  }
}

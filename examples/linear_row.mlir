// A row-parallel linear layer: the weight is cut along its input dimension k because the result is wanted whole (the pin on
// the entry's result), so every rank sums its share and one all-reduce adds the shares. Follow it phase by phase:
//   tp-opt examples/linear_row.mlir --tp-compile="mesh=tp:2 to=collective"
module attributes {tp.model = "linear_row"} {
  ml_program.global private @weight(#ml_program.extern : tensor<256x1024xf32>) : tensor<256x1024xf32> {tp.key = "weight"}
  func.func @forward(%x: tensor<4x128x1024xf32> {tp.name = "x"})
      -> (tensor<4x128x256xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}, {}]>}) {
    %w = ml_program.global_load_const @weight : tensor<256x1024xf32> loc("linear")
    %y = tp.matmul "bsk,nk->bsn" %x, %w : (tensor<4x128x1024xf32>, tensor<256x1024xf32>) -> tensor<4x128x256xf32> loc("linear")
    return %y : tensor<4x128x256xf32>
  }
}

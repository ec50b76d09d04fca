// Multi-head attention (12 heads of 32) with a padding mask: q, k and v are cut by heads, the output projection by rows.
//   tp-opt examples/attention.mlir --tp-compile="mesh=tp:4 to=collective" --tp-report
module attributes {tp.model = "attention"} {
  ml_program.global private @q.weight(#ml_program.extern : tensor<12x1x32x384xf32>) : tensor<12x1x32x384xf32> {tp.view = #tp.view<"q.weight", shape = [384, 384], offset = 0, sizes = [12, 1, 32, 384], strides = [12288, 12288, 384, 1]>}
  ml_program.global private @k.weight(#ml_program.extern : tensor<12x32x384xf32>) : tensor<12x32x384xf32> {tp.view = #tp.view<"k.weight", shape = [384, 384], offset = 0, sizes = [12, 32, 384], strides = [12288, 384, 1]>}
  ml_program.global private @v.weight(#ml_program.extern : tensor<12x32x384xf32>) : tensor<12x32x384xf32> {tp.view = #tp.view<"v.weight", shape = [384, 384], offset = 0, sizes = [12, 32, 384], strides = [12288, 384, 1]>}
  ml_program.global private @o.weight(#ml_program.extern : tensor<384x12x1x32xf32>) : tensor<384x12x1x32xf32> {tp.view = #tp.view<"o.weight", shape = [384, 384], offset = 0, sizes = [384, 12, 1, 32], strides = [384, 32, 32, 1]>}
  func.func @forward(%x: tensor<2x16x384xf32> {tp.name = "x"}, %mask: tensor<2x1x16xi1> {tp.name = "mask", tp.mask_rows})
      -> (tensor<2x16x384xf32> {tp.name = "y", tp.sharding = #tp.sharding<[{}, {}, {}]>}) {
    %wq = ml_program.global_load_const @q.weight : tensor<12x1x32x384xf32>
    %wk = ml_program.global_load_const @k.weight : tensor<12x32x384xf32>
    %wv = ml_program.global_load_const @v.weight : tensor<12x32x384xf32>
    %wo = ml_program.global_load_const @o.weight : tensor<384x12x1x32xf32>
    %q = tp.matmul "bsk,grdk->bsgrd" %x, %wq : (tensor<2x16x384xf32>, tensor<12x1x32x384xf32>) -> tensor<2x16x12x1x32xf32> loc("q")
    %k = tp.matmul "bsk,gdk->bsgd" %x, %wk : (tensor<2x16x384xf32>, tensor<12x32x384xf32>) -> tensor<2x16x12x32xf32> loc("k")
    %v = tp.matmul "bsk,gdk->bsgd" %x, %wv : (tensor<2x16x384xf32>, tensor<12x32x384xf32>) -> tensor<2x16x12x32xf32> loc("v")
    %a = tp.attention %q, %k, %v mask %mask scale = 0.17677669 causal = false : (tensor<2x16x12x1x32xf32>, tensor<2x16x12x32xf32>, tensor<2x16x12x32xf32>, tensor<2x1x16xi1>) -> tensor<2x16x12x1x32xf32> loc("attention")
    %y = tp.matmul "bsgrd,jgrd->bsj" %a, %wo : (tensor<2x16x12x1x32xf32>, tensor<384x12x1x32xf32>) -> tensor<2x16x384xf32> loc("o")
    return %y : tensor<2x16x384xf32>
  }
}
